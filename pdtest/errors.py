"""The base of every error pdtest raises on purpose.

An error message is read by someone whose run just went red, often in a CI log and without the
code at hand. So each error says what was expected, what was seen, where, and what to do next;
the fields stay available for reports and for machine-readable output.
"""

from __future__ import annotations


class PdtestError(Exception):
    """An error with the four things a reader needs.

    Subclasses give a fixed ``title`` and pass the rest. Nothing is formatted by callers.
    """

    title = "pdtest error"

    def __init__(
        self,
        summary: str,
        *,
        expected: str | None = None,
        seen: str | None = None,
        where: str | None = None,
        next_step: str | None = None,
    ) -> None:
        self.summary = summary
        self.expected = expected
        self.seen = seen
        self.where = where
        self.next_step = next_step
        #: Set by whoever has shown it in full, so that it need not be shown again.
        self.reported = False
        super().__init__(summary)

    def __str__(self) -> str:
        rows = [
            ("where", self.where),
            ("expected", self.expected),
            ("seen", self.seen),
            ("next", self.next_step),
        ]
        details = [f"  {label:<9}{_indented(text)}" for label, text in rows if text]
        return "\n".join([f"{self.title}: {self.summary}", *details])

    def __reduce__(self) -> tuple[object, ...]:
        """From one process to another as it is. Subclasses take other arguments than `Exception` keeps."""
        return _as_it_was, (type(self), self.args), self.__dict__


class MissingExtra(PdtestError):
    """A feature was used whose optional packages are not installed."""

    title = "missing package"

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        self.package = package
        self.extra = extra
        super().__init__(
            f"{purpose} needs the Python package '{package}'",
            next_step=f"pip install 'pdtest[{extra}]'",
        )


def _as_it_was(kind: type[PdtestError], args: tuple[object, ...]) -> PdtestError:
    return kind.__new__(kind, *args)


def _indented(text: str) -> str:
    return text.replace("\n", "\n" + " " * 11)
