"""What one test did, for its report."""

from __future__ import annotations

from dataclasses import dataclass, field

from pdtest.client.handoff import Handoff
from pdtest.cluster.cluster import Cluster
from pdtest.cluster.log import LogMark
from pdtest.oracle.verdict import Verdict


@dataclass
class TestRecord:
    """Filled while a test that uses a cluster runs."""

    __test__ = False

    cluster: Cluster
    #: Where the run's journal stood when the test began.
    since: int = 0
    marks: dict[str, LogMark] = field(default_factory=dict)
    handoffs: list[Handoff] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    #: Of verdicts that failed.
    suspects: list[Handoff] = field(default_factory=list)

    def begin(self) -> None:
        """Remember where each member's log stands."""
        self.marks = {name: member.log.mark() for name, member in self.cluster.members.items()}

    @property
    def sent(self) -> list[Handoff]:
        """All its handoffs, also suspects that another test has sent."""
        return list({one.request_id: one for one in (*self.handoffs, *self.suspects)}.values())

    def log_errors(self) -> dict[str, list[str]]:
        """Unexpected error lines since `begin`, by member; members without any are left out."""
        errors = {
            name: member.log.errors_since(self.marks[name], member.service.log_rules)
            for name, member in self.cluster.members.items()
            if name in self.marks
        }
        return {name: lines for name, lines in errors.items() if lines}
