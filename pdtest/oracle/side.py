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
    where each does all by itself.
    """

    name: str
    ways: tuple[Way, ...]
    engines: Mapping[str, Role]
    contract: Contract | None

    @property
    def members(self) -> frozenset[str]:
        """All that it needs: engines, and the proxy."""
        return frozenset({*self.engines, *(way.answers.name for way in self.ways)})

    @property
    def apart(self) -> bool:
        """Whether prefill and decode are."""
        return self.contract is not None


def sides_of(cluster: Cluster, contract: Contract, *, resting: bool = False) -> dict[str, Side]:
    """Those of a running environment, by name: `PD`, and `SINGLE` where it has a colocated member.

    Members that do not run are left out, unless sides take turns and they may be ``resting``.
    """
    proxies = [member for member in cluster.with_role(Role.PROXY) if member.alive or resting]
    prefills, decodes = cluster.with_role(Role.PREFILL), cluster.with_role(Role.DECODE)
    found = {}
    if proxies:
        ways = tuple(Way(answers=target_of(cluster, member)) for member in proxies)
        found[PD] = _apart(PD, ways, [*prefills, *decodes], contract)
    elif can_lead(contract):
        found[PD] = led(cluster, contract, prefills, decodes)
    alone = [member for member in cluster.with_role(Role.COLOCATED) if member.alive or resting]
    if alone:
        ways = tuple(Way(answers=target_of(cluster, member)) for member in alone)
        engines = {member.name: member.role for member in alone}
        found[SINGLE] = Side(name=SINGLE, ways=ways, engines=engines, contract=None)
    return found


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
    return _apart(name, ways, [*prefills, *decodes], contract)


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


def _apart(name: str, ways: tuple[Way, ...], engines: Sequence[RunningMember], contract: Contract) -> Side:
    return Side(name=name, ways=ways, engines={one.name: one.role for one in engines}, contract=contract)
