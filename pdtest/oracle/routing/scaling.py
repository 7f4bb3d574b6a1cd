"""A deployment that grew under a load and shrank after it: what must come of that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pdtest.environment.schema import Role
from pdtest.oracle.routing.changes import used_findings
from pdtest.oracle.routing.traffic import Traffic
from pdtest.oracle.verdict import Finding, Ruling
from pdtest.routing.scaler import Done
from pdtest.routing.wants import Heard


def scaling_findings(
    heard: Sequence[Heard],
    done: Sequence[Done],
    traffic: Traffic,
    standing: Mapping[Role, int],
    within_s: float,
) -> list[Finding]:
    """``traffic``: all that was sent meanwhile. ``standing``: how many there were of each scaled role.

    One more was wanted under the load, was started, was used within ``within_s`` after it was added, and
    ended with nothing left to do when it was wanted no more; never was anything wanted beyond the bounds.
    """
    return [
        *traffic.answered(),
        *_bounds(heard),
        *(finding for role, count in standing.items() for finding in _grew(role, count, heard)),
        *_used(done, traffic, within_s),
        *(finding for role in standing for finding in _shrank(role, done)),
    ]


def _bounds(heard: Sequence[Heard]) -> Iterator[Finding]:
    for role in sorted({role for one in heard for role in one.wants}):
        said = [one.wants[role] for one in heard if role in one.wants]
        beyond = next((want for want in said if not want.within), None)
        least, most = min(want.wanted for want in said), max(want.wanted for want in said)
        text = f"{role}: from {least} to {most} instances were wanted in {len(said)} looks"
        if beyond is not None:
            text = f"{text}; between {beyond.least} and {beyond.most} it must stay"
        yield Finding(check="bounds", ruling=Ruling.FAIL if beyond else Ruling.PASS, text=text)


def _grew(role: Role, standing: int, heard: Sequence[Heard]) -> Iterator[Finding]:
    most = max((one.wants[role].wanted for one in heard if role in one.wants), default=None)
    if most is None:
        text = f"the router does not say how many {role} instances it wants"
        yield Finding(check="wanted", ruling=Ruling.INCONCLUSIVE, text=text)
        return
    text = f"{most} {role} instances were wanted under the load, {standing} ran"
    yield Finding(check="wanted", ruling=Ruling.PASS if most > standing else Ruling.FAIL, text=text)


def _used(done: Sequence[Done], traffic: Traffic, within_s: float) -> Iterator[Finding]:
    for one in done:
        if one.event.change == "added":
            role = Role(one.event.role)
            yield used_findings(traffic, role, one.event.member, one.at_s, within_s)


def _shrank(role: Role, done: Sequence[Done]) -> Iterator[Finding]:
    added = [one.event for one in done if one.event.role == role and one.event.change == "added"]
    removed = {one.event.member: one.event for one in done if one.event.change == "removed"}
    if not added:
        text = f"no {role} instance was started"
        yield Finding(check="started", ruling=Ruling.FAIL, text=text)
    for event in added:
        gone = removed.get(event.member)
        if gone is None:
            text = f"{event.member} was not removed after the load"
            yield Finding(check="removed", ruling=Ruling.FAIL, text=text)
            continue
        times = f"up in {event.took_s:.1f} s, ended {gone.took_s:.1f} s after it was removed"
        work = f"with work left: {gone.left}" if gone.left else "with nothing left to do"
        text = f"{event.member}: {times}, {work}"
        yield Finding(check="removed", ruling=Ruling.FAIL if gone.left else Ruling.PASS, text=text)
