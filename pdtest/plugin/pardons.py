"""What members may complain of since a client went away."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pdtest.cluster.member import RunningMember
from pdtest.events import RequestAbandoned, read


class Pardons:
    """Each request that a client of the run gave up is good for one complaint that its service expects of it.

    In its own test or in a later one: an engine that has nothing else to do may notice with its next request.
    """

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._used = 0

    def less(
        self, errors: Mapping[str, list[str]], members: Mapping[str, RunningMember]
    ) -> dict[str, list[str]]:
        """``errors``, lines by member, without those that are pardoned; members without any are left out."""
        left = {
            name: [line for line in lines if not self._pardoned(line, members[name])]
            for name, lines in errors.items()
        }
        return {name: lines for name, lines in left.items() if lines}

    def _pardoned(self, line: str, member: RunningMember) -> bool:
        if not member.service.log_rules.is_of_abandoned(line):
            return False
        # Read only where it is asked for, which is next to never.
        if self._used >= sum(1 for _ in read(self._journal, kind=RequestAbandoned)):
            return False
        self._used += 1
        return True
