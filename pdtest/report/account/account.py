"""The account of a run, which is the JSON of its report. Seconds; what is called ``at`` is of the epoch."""

from __future__ import annotations

import shlex
from typing import Any, Literal

from pydantic import Field

from pdtest.compare import Comparison
from pdtest.compare.gains import Gains
from pdtest.report.account.frozen import Shown
from pdtest.report.account.journey import Journey, Mark
from pdtest.report.account.load import LoadShown

#: Outcomes that ask for somebody's attention, the most pressing first.
PRESSING = ("failed", "error", "xpassed", "mutant not tested", "inconclusive", "unschedulable")


class Session(Shown):
    """One invocation of pytest. What an old or torn journal does not tell is None or empty."""

    run: str
    began_at: float | None = None
    took_s: float | None = None
    status: int | None = None
    seed: str = ""
    argv: tuple[str, ...] = ()
    host: str = ""
    system: str = ""
    processor: str = ""
    cores: int | None = None
    memory_bytes: int | None = None
    python: str = ""
    versions: dict[str, str] = Field(default_factory=dict)

    @property
    def command(self) -> str:
        """To be pasted into a shell."""
        return shlex.join(self.argv)


class Finding(Shown):
    """One thing that a verdict rests on."""

    check: str
    ruling: str
    text: str


class Claim(Shown):
    """What a test claimed, and how it was judged."""

    claim: str
    ruling: str
    findings: tuple[Finding, ...]

    @property
    def decisive(self) -> tuple[Finding, ...]:
        """Those findings that made the ruling what it is."""
        return tuple(finding for finding in self.findings if finding.ruling == self.ruling)


class TestShown(Shown):
    """``journeys`` are its requests, and ``marks`` what befell meanwhile: only of tests that did not pass."""

    __test__ = False

    test: str
    environment: str | None
    outcome: str
    took_s: float
    message: str = ""
    text: str = ""
    sections: tuple[tuple[str, str], ...] = ()
    properties: dict[str, Any] = Field(default_factory=dict)
    claims: tuple[Claim, ...] = ()
    journeys: tuple[Journey, ...] = ()
    journeys_left_out: int = 0
    marks: tuple[Mark, ...] = ()
    pictures: tuple[str, ...] = ()
    replay: str | None = None

    @property
    def pressing(self) -> bool:
        """Whether somebody must look at it."""
        return self.outcome in PRESSING

    @property
    def place(self) -> str:
        """Its environment; empty of a test without one."""
        return self.environment or ""

    @property
    def file(self) -> str:
        """The file it is in."""
        return self.test.partition("::")[0]

    @property
    def name(self) -> str:
        """Its name and parameters."""
        return self.test.partition("::")[2] or self.test


class Spell(Shown):
    """One life of a member, from a start to its end. ``ended``: ``died``, ``stopped`` or ``running``."""

    started_at: float
    ready_at: float | None
    ended_at: float | None
    ended: str
    returncode: int | None = None
    diagnosis: str | None = None
    last_lines: tuple[str, ...] = ()


class Life(Shown):
    """A member in this run.

    ``files`` are in its folder, relative to the run's directory; ``log`` is the end of its log.
    ``last_look``: whether it was idle when it was last asked.
    """

    environment: str
    member: str
    role: str
    service: str
    url: str
    spells: tuple[Spell, ...]
    log: str = ""
    files: tuple[str, ...] = ()
    last_look: str | None = None


class Attached(Shown):
    """A member that somebody else runs. ``drifts``: how it is not what the environment says."""

    member: str
    role: str
    url: str
    version: str | None
    connector: str | None
    drifts: tuple[str, ...]


class Break(Shown):
    """A fault. ``seen``: how it was verified from outside, None where nobody saw it take effect."""

    fault: str
    target: str
    test: str
    armed_at: float
    seen: str | None = None
    seen_after_s: float | None = None
    lasted_s: float | None = None


class Recovery(Shown):
    """The service answers rightly again."""

    scenario: str
    test: str
    took_s: float
    attempts: int


class EnvironmentShown(Shown):
    """An environment file after all inheritance, as text."""

    name: str
    description: str
    contract: tuple[str, ...]
    text: str


class Unreadable(Shown):
    """A file of the run, relative to its directory, that is not what it should be. All else is told."""

    file: str
    why: str


class Account(Shown):
    """All of it."""

    version: Literal[1] = 1
    session: Session
    outcomes: dict[str, int]
    tests: tuple[TestShown, ...] = ()
    environments: tuple[EnvironmentShown, ...] = ()
    members: tuple[Life, ...] = ()
    attached: tuple[Attached, ...] = ()
    marks: tuple[Mark, ...] = ()
    breaks: tuple[Break, ...] = ()
    recoveries: tuple[Recovery, ...] = ()
    loads: tuple[LoadShown, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    topologies: tuple[Gains, ...] = ()
    kills: dict[str, Any] | None = None
    unreadable: tuple[Unreadable, ...] = ()

    @property
    def verdict(self) -> str:
        """Of the whole run: the most pressing outcome, ``interrupted``, ``empty`` or ``passed``."""
        pressing = next((outcome for outcome in PRESSING if self.outcomes.get(outcome)), None)
        if pressing is not None:
            return "failed" if pressing in {"error", "xpassed", "mutant not tested"} else pressing
        if self.kills is not None and (self.kills["survivors"] or self.kills["false_alarms"]):
            return "failed"
        if self.session.status is None or self.session.status in {2, 3}:
            return "interrupted"
        return "passed" if self.tests else "empty"

    @property
    def pressing(self) -> tuple[TestShown, ...]:
        """Tests that somebody must look at, the most pressing first."""
        return tuple(sorted((t for t in self.tests if t.pressing), key=lambda t: PRESSING.index(t.outcome)))
