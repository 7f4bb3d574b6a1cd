"""How tests end for reasons that lie in the cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pdtest.errors import PdtestError
from pdtest.history import Violation


class UnexpectedLogErrors(PdtestError):
    """Members logged errors while a test ran that does not expect any."""

    title = "unexpected errors in logs"

    def __init__(self, errors: Mapping[str, Sequence[str]]) -> None:
        self.errors = errors
        shown = [f"{member}| {line}" for member, lines in errors.items() for line in lines[:10]]
        super().__init__(
            f"{', '.join(errors)} logged {sum(map(len, errors.values()))} error lines during this test",
            expected="none (harmless ones are declared by the service)",
            seen="\n".join(shown),
            next_step="mark the test 'disruptive' if it provokes them on purpose",
        )


class HistoryViolated(PdtestError):
    """What a test's requests went through cannot be: see `pdtest.history.INVARIANTS`."""

    title = "history"

    def __init__(
        self, violations: Sequence[Violation], picture: Sequence[str], drawn: Path | None = None
    ) -> None:
        self.violations = tuple(violations)
        self.drawn = drawn
        first, *others = violations
        more = [f"... and {len(others)} more of this kind or another"] if others else []
        super().__init__(
            str(first),
            seen="\n".join([*picture, *more]),
            where=f"as a picture: {drawn}" if drawn else None,
            next_step="every event is in the run directory's events.jsonl",
        )


class ClusterUnavailable(PdtestError):
    """The environment failed to start earlier in this run; the first error says why."""

    title = "environment not running"

    def __init__(self, environment: str, cause: BaseException) -> None:
        super().__init__(
            f"environment '{environment}' failed to start",
            seen=str(cause).splitlines()[0] if str(cause) else type(cause).__name__,
            next_step="see the first error of this environment above",
        )


class NotWithWorkers(PdtestError):
    """Something that has an order of its own was asked for together with ``-n``."""

    title = "one at a time"

    def __init__(self, option: str) -> None:
        super().__init__(
            f"{option} goes through its tests in an order of its own, which several workers cannot keep",
            seen=f"{option} and -n",
            next_step=f"leave out -n, or {option}",
        )
