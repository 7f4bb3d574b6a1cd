"""Two outcomes that pytest does not know: inconclusive and unschedulable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import pytest
from _pytest._code.code import ReprFileLocation, TerminalRepr
from _pytest._io import TerminalWriter
from _pytest.terminal import TerminalReporter

from pdtest.cluster.incident import MemberIncident
from pdtest.cluster.requirements import Unschedulable
from pdtest.errors import PdtestError
from pdtest.events.fault import Recovered
from pdtest.faults.fault import Unverified
from pdtest.kills.table import Outcome
from pdtest.oracle.errors import Inconclusive
from pdtest.plugin.attached import Survey
from pdtest.plugin.errors import HistoryViolated, UnexpectedLogErrors
from pdtest.plugin.marks import SPARED
from pdtest.plugin.selection import Selection

INCONCLUSIVE = "inconclusive"
UNSCHEDULABLE = "unschedulable"
#: What a test under a planted bug is that did not pass.
ON_MUTANT: Mapping[Outcome, str] = {
    Outcome.KILLED: "mutant killed",
    Outcome.OPEN: "mutant undecided",
    Outcome.BROKEN: "mutant not tested",
}
_LETTERS = {INCONCLUSIVE: "I", UNSCHEDULABLE: "U", **dict(zip(ON_MUTANT.values(), "K?B", strict=True))}


class _Message(TerminalRepr):
    """A report that is a message: ``in_short`` for pytest's short test summary."""

    def __init__(self, in_short: str, text: str) -> None:
        self.text = text
        self.reprcrash = ReprFileLocation(path="", lineno=0, message=in_short)

    def __str__(self) -> str:
        return self.text

    def toterminal(self, tw: TerminalWriter) -> None:
        """The text, as pytest shows what failed."""
        tw.line(self.text, red=True)


def classify(config: pytest.Config, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
    """Note on the report which of the two it is, and make it count as it should."""
    error = call.excinfo.value if call.excinfo else None
    if isinstance(error, Inconclusive | Unverified) and not hasattr(report, "wasxfail"):
        report.pdtest_outcome = INCONCLUSIVE  # type: ignore[attr-defined]
        # A failure to everyone who only knows pytest's outcomes: JUnit, xdist, the exit code.
        report.outcome = "passed" if config.getoption("allow_inconclusive") else "failed"
    elif isinstance(error, Unschedulable):
        report.pdtest_outcome = UNSCHEDULABLE  # type: ignore[attr-defined]
        report.outcome = "skipped"
        report.longrepr = (str(report.fspath), 0, str(error))
    elif isinstance(error, PdtestError) and report.when == "setup":
        # The message says it all; the way it took through fixtures is noise, and so is saying it again
        # for each of fifty tests that wanted the same cluster.
        first, error.reported = not error.reported, True
        in_short = f"{error.title}: {error.summary}"
        report.longrepr = _Message(in_short, str(error) if first else f"{in_short} (see the first error)")
        # Also where a failure is expected: a known issue of a test is none of the cluster it never reached.
        report.outcome = "failed"
    elif isinstance(error, MemberIncident | UnexpectedLogErrors | HistoryViolated) and report.failed:
        report.longrepr = _Message(f"{error.title}: {error.summary}", str(error))


def status(report: pytest.TestReport) -> tuple[str, str, tuple[str, Mapping[str, bool]]] | None:
    """Category, letter and word of the two outcomes; None for pytest's own."""
    outcome = getattr(report, "pdtest_outcome", None)
    if outcome is None:
        return None
    return outcome, _LETTERS[outcome], (outcome.upper(), {"yellow": True})


def summarize(reporter: TerminalReporter, selection: Selection) -> None:
    """The sections at the end of the terminal output."""
    for report in reporter.stats.get(INCONCLUSIVE, []):
        reporter.section(f"inconclusive: {report.nodeid}", yellow=True)
        reporter._outrep_summary(report)  # noqa: SLF001 - what pytest does for failures, whose section is closed to us
    if reporter.stats.get(UNSCHEDULABLE):
        reporter.section("unschedulable environments", yellow=True)
        for name in selection.names:
            for reason in selection.unschedulable(name):
                reporter.line(f"{name}: {reason}")


def summarize_recoveries(reporter: TerminalReporter, recoveries: Sequence[Recovered]) -> None:
    """How long the service took to answer rightly again, per scenario, slowest first."""
    if not recoveries:
        return
    reporter.section("time to recovery", bold=True)
    for event in sorted(recoveries, key=lambda event: -event.took_s):
        times = "" if event.attempts == 1 else f" at attempt {event.attempts}"
        reporter.line(f"{event.took_s:7.2f} s  {event.scenario}{times}")


def summarize_attached(reporter: TerminalReporter, surveys: Sequence[Survey]) -> None:
    """What was not run for the sake of members that somebody else runs, and how they are not as claimed."""
    spared = Counter(sake for sake in map(_sake, reporter.stats.get("skipped", [])) if sake)
    drifts = [(survey.environment.name, drift) for survey in surveys for drift in survey.soft]
    if not spared and not drifts:
        return
    reporter.section("attached members", yellow=True)
    for (environment, members), count in spared.items():
        reporter.line(
            f"{environment}: {count} disruptive {'test was' if count == 1 else 'tests were'} not run, since "
            f"somebody else runs {members}; --allow-disruption runs them"
        )
    for environment, drift in drifts:
        reporter.line(f"{environment}: {drift}")


def _sake(report: pytest.TestReport) -> tuple[str, str] | None:
    """The environment and its members for whose sake a test was skipped."""
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
    _, spared, named = reason.partition(f"{SPARED} ")
    environment, _, members = named.partition(": ")
    return (environment, members) if spared else None


def exit_status(reporter: TerminalReporter, config: pytest.Config, status: int) -> int:
    """The session's exit status: an environment that could not run is no success."""
    unscheduled = bool(reporter.stats.get(UNSCHEDULABLE))
    if status == pytest.ExitCode.OK and unscheduled and not config.getoption("allow_unschedulable"):
        return int(pytest.ExitCode.TESTS_FAILED)
    return status
