"""The scenarios that make sense in an environment, and who leads the request in each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pdtest.client.handoff import Route
from pdtest.environment.scenarios import SCENARIOS, How, Scenario, Who
from pdtest.environment.schema import Environment, Phases, Role
from pdtest.wire.registry import contract_for

_ROLES = {
    Who.PREFILL: Role.PREFILL,
    Who.DECODE: Role.DECODE,
    Who.PROXY: Role.PROXY,
    Who.STORE: Role.STORE,
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A scenario under a request that takes this route."""

    scenario: Scenario
    route: Route

    def __str__(self) -> str:
        return f"{self.scenario}-{self.route}"


def cases_of(environment: Environment) -> tuple[Case, ...]:
    """None where the environment says neither how long phases last nor what may come of scenarios."""
    if environment.phases == Phases() and not environment.recovery:
        return ()
    return tuple(_cases(environment))


def _cases(environment: Environment) -> Iterator[Case]:
    led_by_client = contract_for(environment.connector.contract).obstacle is None
    has_proxy = bool(environment.members_with(Role.PROXY))
    for scenario in SCENARIOS.values():
        if not _is_there(scenario, environment):
            continue
        by_client = led_by_client and scenario.who is not Who.PROXY
        if by_client:
            yield Case(scenario=scenario, route=Route.CLIENT)
        # A proxy may answer a death by asking somebody else. Of what hangs it hears as little as a client.
        if has_proxy and (scenario.how is How.KILLED or not by_client):
            yield Case(scenario=scenario, route=Route.PROXY)


def _is_there(scenario: Scenario, environment: Environment) -> bool:
    if scenario.who is Who.LINK:
        return bool(environment.links)
    return bool(environment.members_with(_ROLES[scenario.who]))
