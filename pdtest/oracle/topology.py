"""Topologies of the same hardware: who serves in each, where its requests go, and with which load."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pdtest.cluster.cluster import Cluster
from pdtest.environment.arrivals import Closed
from pdtest.environment.distributions import Fixed
from pdtest.environment.performance import Performance
from pdtest.environment.schema import ENGINE_ROLES, Environment, Role
from pdtest.environment.workload import Workload
from pdtest.oracle.hardware import hardware_of
from pdtest.oracle.side import Side, behind, can_lead, led, spread
from pdtest.oracle.verdict import Finding, Ruling
from pdtest.wire.contract import Contract

#: The load for which the gain is claimed: so many requests at once, of so many tokens in and out.
_AT_ONCE: Final = 1000
_PROMPT: Final = 200
_ANSWER: Final = 500
#: Roles that need nobody else.
_ALONE: Final = frozenset({Role.COLOCATED, Role.HYBRID})


def topologies_of(cluster: Cluster, contract: Contract) -> dict[str, Side]:
    """Those of a running environment, by name; its members may rest.

    Through the proxies that a topology has; else the client goes to engines that do all by themselves in
    turn, or leads requests over prefill and decode. One that nobody can lead is left out.
    """
    found = {name: _side(cluster, contract, name) for name in cluster.environment.performance.topologies}
    return {name: side for name, side in found.items() if side is not None}


def _side(cluster: Cluster, contract: Contract, name: str) -> Side | None:
    topology = cluster.environment.performance.topologies[name]
    members = [cluster.members[one] for one in topology.members]
    proxies = [one for one in members if one.role is Role.PROXY]
    engines = [one for one in members if one.role in ENGINE_ROLES]
    if proxies:
        return behind(cluster, contract, proxies, engines, name=name)
    if all(one.role in _ALONE for one in engines):
        return spread(cluster, engines, name=name)
    if not can_lead(contract):
        return None
    by_role = {role: [one for one in engines if one.role is role] for role in (Role.PREFILL, Role.DECODE)}
    return led(cluster, contract, by_role[Role.PREFILL], by_role[Role.DECODE], name=name)


def load_for(environment: Environment, engines: int) -> Workload:
    """The load that gains are claimed for, as large as ``engines`` can take it.

    `users_per_engine` users of a closed loop for each, 1000 at most, each with `per_user` requests; 200
    tokens in and 500 out, both shorter alike where `max_model_len` is less than 700.
    """
    settings: Performance = environment.performance
    users = min(settings.users_per_engine * engines, _AT_ONCE)
    scale = min(1.0, environment.model.max_model_len / (_PROMPT + _ANSWER))
    return Workload(
        arrivals=Closed(pattern="closed", concurrency=users),
        prompt=Fixed(shape="fixed", tokens=max(int(_PROMPT * scale), 1)),
        answer=Fixed(shape="fixed", tokens=max(int(_ANSWER * scale), 1)),
        requests=users * settings.per_user,
        warm_up=engines,
    )


def unequal(environment: Environment, sides: Mapping[str, Side]) -> list[Finding]:
    """What differs in the hardware of topologies; a gain would be its doing as much as theirs."""
    hardware = {name: hardware_of(environment, side.engines) for name, side in sides.items()}
    first, *others = hardware.values()
    if all(first.same_as(other) for other in others):
        return []
    told = "; ".join(f"{name}: {one}" for name, one in hardware.items())
    text = f"not the same hardware, so nothing follows for a topology: {told}"
    return [Finding(check="hardware", ruling=Ruling.INCONCLUSIVE, text=text)]
