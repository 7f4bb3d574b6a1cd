"""Something dies, hangs or is cut off while a request is in a chosen phase.

Checked each time: no wrong answer with status 200; an error comes in time and says that the service failed;
other requests are unharmed; the next request is right; all engines come to rest.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pdtest import Environment
from pdtest.environment.scenarios import How, Phase, Scenario, Who
from pdtest.faults import Fault
from pdtest.faults.cases import Case
from pdtest.faults.phase import Reached
from pdtest.plugin.disruption import NewDrill
from pdtest.plugin.fixtures import Rule

pytestmark = [pytest.mark.recovery, pytest.mark.disruptive]

#: How long something hangs. What reads from a prefill that hangs must give up by itself, which takes longer.
_HOLD_S = 0.3
_LONG_HOLD_S = 2.3


async def test_scenario(  # noqa: PLR0913, PLR0917 - fixtures are asked for by name
    case: Case,
    environment: Environment,
    pair: tuple[str, ...],
    drill: NewDrill,
    fault_of: Callable[[Scenario, Reached], Fault],
    rule: Rule,
) -> None:
    """One thing breaks in one phase of a request."""
    scenario = case.scenario
    exercise = drill(str(scenario))
    await exercise.run(
        scenario.when,
        lambda reached: fault_of(scenario, reached),
        route=case.route,
        over=pair,
        hold_s=_hold_s(scenario, environment),
    )
    rule(f"{scenario}: it ends as declared, and all is well again", exercise.findings)


def _hold_s(scenario: Scenario, environment: Environment) -> float:
    if scenario.how is How.TERMINATED:  # it may finish what it does
        return environment.thresholds.hang_s
    is_source = (scenario.who, scenario.when) == (Who.PREFILL, Phase.TRANSFER)
    return _LONG_HOLD_S if is_source and scenario.how is How.FROZEN else _HOLD_S
