"""Sessions: requests that belong together, and whether they stay so for as long as they should."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from pdtest.environment.routing import Session
from pdtest.environment.schema import Role
from pdtest.oracle.routing.lanes import Lane
from pdtest.oracle.routing.traffic import Errand, Errands, Routed, Traffic
from pdtest.oracle.verdict import Finding, Ruling

#: Of `idle_s`: requests that are further apart say nothing of a session that stays.
_IN_TIME = 0.8


@dataclass(frozen=True, kw_only=True)
class Sessions:
    """Makes requests of sessions, all of the same lengths."""

    session: Session
    lane: Lane
    errands: Errands

    @staticmethod
    def new(many: int) -> list[str]:
        """Names that no router has heard of."""
        return [f"pdtest-{uuid.uuid4().hex}" for _ in range(many)]

    def of(self, names: Sequence[str]) -> list[Errand]:
        """A request of each session, in random order: dealt out in turn they would get other places."""
        shuffled = sorted(names, key=lambda _: uuid.uuid4())
        return [self.errands.after((), self.lane, headers={self.session.header: name}) for name in shuffled]

    def key(self, routed: Routed) -> str:
        """The session of a request."""
        return routed.errand.headers[self.session.header]


def stay_findings(traffic: Traffic, roles: Sequence[Role], sessions: Sessions) -> list[Finding]:
    """Requests of a session are served by the same instances, unless it had time to end between them."""
    visits: dict[str, list[Routed]] = {}
    for one in traffic.routed:
        visits.setdefault(sessions.key(one), []).append(one)
    pairs = [pair for known in visits.values() for pair in pairwise(known)]
    within_s = sessions.session.idle_s * _IN_TIME
    in_time = [(one, other) for one, other in pairs if other.done_s - one.sent_s < within_s]
    text = f"{len(in_time)} times a session went on within {within_s:.1f} s, of {len(pairs)}"
    if not in_time:
        return [Finding(check="stayed", ruling=Ruling.INCONCLUSIVE, text=f"{text}: it may have ended")]
    left = [
        f"{role} was {one.by(role)}, then {other.by(role)}"
        for one, other in in_time
        for role in roles
        if one.by(role) != other.by(role)
    ]
    if left:
        return [Finding(check="stayed", ruling=Ruling.FAIL, text=f"{text}: {len(left)} moved, {left[0]}")]
    return [Finding(check="stayed", ruling=Ruling.PASS, text=text)]


def ended_findings(
    before: Traffic, after: Traffic, roles: Sequence[Role], sessions: Sessions
) -> list[Finding]:
    """Not all sessions are where they were: dealt out anew, that would be a miracle."""
    return [_ended(before, after, role, sessions) for role in roles]


def _ended(before: Traffic, after: Traffic, role: Role, sessions: Sessions) -> Finding:
    homes = {sessions.key(one): one.by(role) for one in before.routed}
    kept = sum(homes.get(sessions.key(one)) == one.by(role) for one in after.routed)
    text = f"{kept} of {len(after.routed)} are at the same {role} instance as before"
    stuck = kept == len(after.routed)
    return Finding(check="ended", ruling=Ruling.FAIL if stuck else Ruling.PASS, text=text)
