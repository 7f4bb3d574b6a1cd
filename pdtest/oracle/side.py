"""The sides of a comparison: prefill and decode apart, and one instance that does both."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pdtest.cluster.cluster import Cluster
from pdtest.cluster.member import RunningMember
from pdtest.environment.schema import Role
from pdtest.load.way import Target, Way
from pdtest.wire.contract import Contract, Order

PD: Final = "pd"
SINGLE: Final = "single"


@dataclass(frozen=True, kw_only=True)
class Side:
    """Where a load goes, and who serves it.

    ``name`` is `Result.target`. ``engines`` by name with their roles; ``contract``: what they speak, None
    where each does all by itself. ``routed``: a router decides which requests are handed over, so counters
    cannot be held against what all of them should have moved.
    """

    name: str
    ways: tuple[Way, ...]
    engines: Mapping[str, Role]
    contract: Contract | None
    routed: bool = False

    @property
    def members(self) -> frozenset[str]:
        """All that it needs: engines, and the proxy."""
        return frozenset({*self.engines, *(way.answers.name for way in self.ways)})

    @property
    def apart(self) -> bool:
        """Whether prefill and decode are."""
        return self.contract is not None

    @property
    def moves(self) -> bool:
        """Whether every request is handed over, so that counters can prove that KV moved for each."""
        return self.apart and not self.routed


def sides_of(cluster: Cluster, contract: Contract, *, resting: bool = False) -> dict[str, Side]:
    """Those of a running environment, by name: `PD`, and `SINGLE` where it has a colocated member.

    Members that do not run are left out, unless sides take turns and they may be ``resting``. Those on
    standby are no part of it until they run.
    """
    wanted = {member.name for member in cluster.wanted}

    def there(role: Role) -> list[RunningMember]:
        return [one for one in cluster.with_role(role) if one.alive or (resting and one.name in wanted)]

    proxies = there(Role.PROXY)
    prefills, decodes, hybrids = (
        [one for one in cluster.with_role(role) if one.alive or one.name in wanted]
        for role in (Role.PREFILL, Role.DECODE, Role.HYBRID)
    )
    found = {}
    if proxies:
        found[PD] = behind(cluster, contract, proxies, [*prefills, *decodes, *hybrids])
    elif can_lead(contract):
        found[PD] = led(cluster, contract, prefills, decodes)
    alone = there(Role.COLOCATED)
    if alone:
        found[SINGLE] = spread(cluster, alone)
    return found


def behind(
    cluster: Cluster,
    contract: Contract,
    proxies: Sequence[RunningMember],
    engines: Sequence[RunningMember],
    *,
    name: str = PD,
) -> Side:
    """A side whose requests go to proxies, which lead them through the engines."""
    return Side(
        name=name,
        ways=tuple(Way(answers=target_of(cluster, member)) for member in proxies),
        engines={one.name: one.role for one in engines},
        contract=contract,
        routed=cluster.environment.routing.phase is not None,
    )


def spread(cluster: Cluster, engines: Sequence[RunningMember], *, name: str = SINGLE) -> Side:
    """A side whose client goes to the engines in turn, each of which does all by itself."""
    return Side(
        name=name,
        ways=tuple(Way(answers=target_of(cluster, member)) for member in engines),
        engines={one.name: one.role for one in engines},
        contract=None,
    )


def can_lead(contract: Contract) -> bool:
    """Whether a load's client can lead both legs of a handoff itself."""
    return contract.obstacle is None and contract.order is Order.PREFILL_FIRST


def led(
    cluster: Cluster,
    contract: Contract,
    prefills: Sequence[RunningMember],
    decodes: Sequence[RunningMember],
    *,
    name: str = PD,
) -> Side:
    """A side whose client leads each request over a prefill and a decode member, all of them in turn."""
    pairs = itertools.islice(
        zip(itertools.cycle(prefills), itertools.cycle(decodes), strict=False), len(prefills) * len(decodes)
    )
    ways = tuple(
        Way(answers=target_of(cluster, decode), prefill=target_of(cluster, prefill), contract=contract)
        for prefill, decode in pairs
    )
    engines = {one.name: one.role for one in [*prefills, *decodes]}
    return Side(name=name, ways=ways, engines=engines, contract=contract)


def target_of(cluster: Cluster, member: RunningMember) -> Target:
    """A member, for the load's client."""
    headers = {"Authorization": f"Bearer {member.api_key}"} if member.api_key else {}
    return Target(
        name=member.name,
        url=member.url,
        model=cluster.environment.model.name,
        headers=headers,
        ports=member.ports,
    )
