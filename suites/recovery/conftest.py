"""What the tests of this suite share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pdtest import Environment, Route
from pdtest.client.handoff import first_route
from pdtest.cluster.cluster import Cluster
from pdtest.environment.scenarios import How, Scenario, Who
from pdtest.environment.schema import Role
from pdtest.faults import Fault, Freeze, Kill, Terminate, Unverified, network
from pdtest.faults.phase import Reached
from pdtest.links import Link
from pdtest.wire.contract import Contract

_LINK_FAULTS = {
    How.CUT: network.cut,
    How.RESET: network.reset,
    How.HALF_OPEN: network.half_open,
    How.SLOW: network.slow,
}
_PROCESS_FAULTS: dict[How, Callable[[Cluster, str], Fault]] = {
    How.KILLED: Kill,
    How.TERMINATED: Terminate,
    How.FROZEN: Freeze,
}


@pytest.fixture
def pair(cluster: Cluster) -> tuple[str, ...]:
    """The first prefill and the first decode."""
    return tuple(cluster.with_role(role)[0].name for role in (Role.PREFILL, Role.DECODE))


@pytest.fixture
def front(environment: Environment, contract: Contract) -> Route:
    """The way that users take: the proxy, where there is one."""
    return Route.PROXY if environment.members_with(Role.PROXY) else first_route(contract)


@pytest.fixture
def by_hand(contract: Contract) -> None:
    """For tests that lead both legs apart from each other."""
    if contract.obstacle is not None:
        pytest.skip(f"{contract.name}: {contract.obstacle}")


@pytest.fixture
def fault_of(cluster: Cluster) -> Callable[[Scenario, Reached], Fault]:
    """What a scenario breaks, once it is known which members work on the request."""

    def fault(scenario: Scenario, reached: Reached) -> Fault:
        if scenario.who is Who.LINK:
            return _LINK_FAULTS[scenario.how](cluster, _link_to(cluster, reached.prefill))
        target = {Who.PREFILL: reached.prefill, Who.DECODE: reached.decode}.get(scenario.who)
        # No decode works on it yet, or it is none of the engines: the first of that role.
        member = target or cluster.with_role(Role(scenario.who))[0].name
        return _PROCESS_FAULTS[scenario.how](cluster, member)

    return fault


def _link_to(cluster: Cluster, prefill: str | None) -> Link:
    for link in cluster.links:
        if link.target == prefill:
            return link
    raise Unverified(
        f"there is no link to '{prefill}' that could be broken",
        expected=f"links: with target: {prefill} in the environment",
        seen=", ".join(link.name for link in cluster.links) or "none",
    )
