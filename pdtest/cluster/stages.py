"""Turns new log lines of a starting member into what it is doing."""

from __future__ import annotations

from pdtest.cluster.member import RunningMember
from pdtest.cluster.tail import tails
from pdtest.events import Journal, MemberProgressed


class Stages:
    """Follows the logs of one generation of a member."""

    def __init__(self, member: RunningMember, journal: Journal) -> None:
        self._member = member
        self._journal = journal
        self._tails = tails(member.log, since=member.born)

    def poll(self) -> None:
        """Read what is new; the last stage in it is what the member is doing."""
        for tail in self._tails:
            for line in tail.read():
                self._take(line)

    def _take(self, line: str) -> None:
        member = self._member
        doing = next((stage.doing for stage in member.service.stages if stage.pattern.search(line)), None)
        if doing is not None and member.progress(doing):
            self._journal.append(
                MemberProgressed(member=member.name, doing=doing, elapsed_s=member.elapsed_s)
            )
