"""One problem in an environment file, and the error that carries all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pdtest.errors import PdtestError

#: The way from the top of a file to a value: mapping keys and list indices.
KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, kw_only=True)
class Position:
    """A place in a file. Line and column count from 1, as editors do."""

    file: Path
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What is wrong at one key of an environment file."""

    summary: str
    key: str = ""
    position: Position | None = None
    expected: str | None = None
    seen: str | None = None
    next_step: str | None = None

    @property
    def where(self) -> str | None:
        """File, line, column and dotted key, as far as they are known."""
        place = str(self.position) if self.position else ""
        return "  ".join(part for part in (place, self.key) if part) or None

    def __str__(self) -> str:
        # A lone finding and one of many read the same, so both go through the error's layout.
        return str(EnvironmentInvalid((self,))).removeprefix(f"{EnvironmentInvalid.title}: ")


class EnvironmentInvalid(PdtestError):
    """An environment file that cannot be used, with everything that is wrong in it."""

    title = "invalid environment"

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = tuple(findings)
        first = self.findings[0]
        if len(self.findings) == 1:
            super().__init__(
                first.summary,
                where=first.where,
                expected=first.expected,
                seen=first.seen,
                next_step=first.next_step,
            )
        else:
            super().__init__(f"{len(self.findings)} problems in {_files(self.findings)}")

    def __str__(self) -> str:
        if len(self.findings) == 1:
            return super().__str__()
        return "\n\n".join([super().__str__(), *(str(finding) for finding in self.findings)])


def dotted(path: KeyPath) -> str:
    """``members.decode.devices[0]`` for the path of that value."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def in_file_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Sorted as a reader meets them, one per place.

    A value that several members inherit (a default, an anchor, a base file) is written once, so it is
    wrong once.
    """
    unique: dict[object, Finding] = {}
    for finding in findings:
        unique.setdefault((finding.position, finding.summary, finding.expected, finding.seen), finding)
    return tuple(sorted(unique.values(), key=_place))


def _place(finding: Finding) -> tuple[str, int, int]:
    at = finding.position
    return (str(at.file), at.line, at.column) if at else ("", 0, 0)


def _files(findings: Sequence[Finding]) -> str:
    names = dict.fromkeys(str(finding.position.file) for finding in findings if finding.position)
    return ", ".join(names) or "the environment"
