"""Seeing to it that a router sends requests to the members that serve, and to no others."""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from pdtest.client.endpoints import endpoint_of
from pdtest.cluster.cluster import Cluster
from pdtest.environment.schema import Role
from pdtest.errors import PdtestError
from pdtest.routing.addresses import location
from pdtest.routing.membership import Membership, membership_of

#: Roles of engines that routers send requests to.
_ROLES = (Role.PREFILL, Role.DECODE, Role.HYBRID)


class NotTold(PdtestError):
    """A router has no way to learn of a member, so it never sends it anything."""

    title = "router without the member"

    def __init__(self, router: str, member: str) -> None:
        super().__init__(
            f"'{router}' does not know '{member}', and cannot be told of it while it runs",
            expected="a router that takes instances while it runs, or one that is started with this one",
            where=f"members.{member}.standby",
            next_step=f"drop standby of '{member}', or give it a proxy that can be told",
        )


async def keep_to(cluster: Cluster, router: str, engines: Mapping[str, Role]) -> None:
    """Have ``router`` send requests to ``engines``, by name with their roles, and to nobody else.

    A router that cannot let go of others keeps them. Raises NotTold where it cannot take one, and Refused.
    """
    urls = {name: cluster.members[name].url for name in engines}
    async with httpx.AsyncClient(trust_env=False) as http:
        membership = membership_of(cluster.environment, endpoint_of(cluster, router, http))
        if membership is None:
            _refuse_unknown(cluster, router, engines)
            return
        listed = await membership.listed()
        for name, role in engines.items():
            if location(urls[name]) not in listed.get(role, ()):
                if not membership.adds:
                    raise NotTold(router, name)
                await membership.add(role, urls[name])
        # One that it could not be given back stays with it.
        if membership.adds and membership.removes:
            await _let_go(membership, listed, {location(urls[name]): role for name, role in engines.items()})


async def _let_go(
    membership: Membership, listed: Mapping[Role, tuple[str, ...]], wanted: Mapping[str, Role]
) -> None:
    for role in _ROLES:
        for address in listed.get(role, ()):
            if wanted.get(address) is not role:
                await membership.remove(role, f"http://{address}")


def _refuse_unknown(cluster: Cluster, router: str, engines: Mapping[str, Role]) -> None:
    """What a router was not started with it does not know."""
    peers = cluster.members[router].placement.peers
    for name in engines:
        if peers[name].standby:
            raise NotTold(router, name)
