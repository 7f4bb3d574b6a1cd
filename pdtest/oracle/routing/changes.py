"""Instances that a router gets and loses while it works, and who was used meanwhile."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pdtest.environment.schema import Role
from pdtest.errors import PdtestError
from pdtest.oracle.routing.lanes import Lane
from pdtest.oracle.routing.router import Router
from pdtest.oracle.routing.traffic import Errand, Errands, Routed, Traffic
from pdtest.oracle.verdict import Finding, Ruling
from pdtest.routing.membership import Membership

#: Beyond ``takes_up_s``, until tests give up to see an instance used again that they had removed.
_SPARE_S = 10.0


class NotBack(PdtestError):
    """An instance that was removed for a test is not used again."""

    title = "instance lost"


@dataclass(frozen=True, kw_only=True)
class Changes:
    """``urls`` by member. ``lanes``: lengths of requests that need an instance of each role."""

    router: Router
    membership: Membership
    urls: Mapping[str, str]
    lanes: Mapping[Role, Lane]
    errands: Errands

    async def add(self, role: Role, name: str) -> None:
        """Tell the router of a member. Raises Refused."""
        await self.membership.add(role, self.urls[name])

    async def remove(self, role: Role, name: str) -> None:
        """Have the router forget a member. Raises Refused."""
        await self.membership.remove(role, self.urls[name])

    @asynccontextmanager
    async def without(self, role: Role, name: str) -> AsyncIterator[None]:
        """The router does not have it while the block runs; it is used again when this ends.

        Raises Refused, and NotBack where it is not.
        """
        await self.remove(role, name)
        try:
            yield
        finally:
            await self.add(role, name)
            await self.used(role, name)

    def any_of(self, roles: Iterable[Role]) -> Iterator[Errand]:
        """Errands that need instances of these roles, in turn, as many as are asked for."""
        lanes = list(dict.fromkeys(self.lanes[role] for role in roles if role in self.lanes))
        return (errand for lane in itertools.cycle(lanes) for errand in self.errands.of(lane))

    async def used(self, role: Role, name: str) -> Traffic:
        """Sends requests until the instance has served one. Raises NotBack."""
        within_s = self.router.settings.takes_up_s + _SPARE_S
        deadline, traffic = time.monotonic() + within_s, Traffic()
        while time.monotonic() < deadline:
            sent = self.errands.of(self.lanes[role], 2 * len(self.router.names(role)))
            traffic += await self.router.at_once(*sent)
            if traffic.counts(role, (name,))[name]:
                return traffic
        raise NotBack(
            f"'{name}' was added to the router and is not used",
            expected=f"a request served by it within {within_s:g} s",
            seen=", ".join(
                f"{who} {count}" for who, count in traffic.counts(role, self.router.names(role)).items()
            ),
            where=self.router.endpoint.url,
            next_step=f"read the log of '{self.router.endpoint.name}'",
        )


def used_findings(traffic: Traffic, role: Role, name: str, added_s: float, within_s: float) -> Finding:
    """It served a request that was sent within so long after it was added."""
    first = min((one.sent_s for one in _of(traffic.routed, role, name)), default=None)
    if first is None:
        later = sum(one.sent_s >= added_s for one in traffic.routed)
        text = f"{name} served none of {later} requests after it was added"
        return Finding(check="used", ruling=Ruling.FAIL, text=text)
    took = first - added_s
    text = f"{name} is used {took:.1f} s after it was added, {within_s:g} s are declared"
    return Finding(check="used", ruling=Ruling.PASS if took <= within_s else Ruling.FAIL, text=text)


def gone_findings(traffic: Traffic, role: Role, name: str, removed_s: float, within_s: float) -> Finding:
    """It served nothing that was sent later than so long after it was removed."""
    late = [one for one in traffic.routed if one.sent_s > removed_s + within_s]
    if not late:
        text = f"no request was sent more than {within_s:g} s after {name} was removed"
        return Finding(check="avoided", ruling=Ruling.INCONCLUSIVE, text=text)
    served = _of(late, role, name)
    text = (
        f"{name} served {len(served)} of {len(late)} requests, more than {within_s:g} s after it was removed"
    )
    return Finding(check="avoided", ruling=Ruling.FAIL if served else Ruling.PASS, text=text)


def _of(routed: Iterable[Routed], role: Role, name: str) -> list[Routed]:
    return [one for one in routed if name in {one.by(role), one.decode}]
