"""What the tests of this suite share."""

from __future__ import annotations

import pytest

from pdtest import Environment
from pdtest.environment.routing import ByPhase, Spread
from pdtest.environment.schema import Role
from pdtest.oracle.routing.lanes import Lane, Lanes
from pdtest.oracle.routing.router import Router

#: Those that a request which is handed over needs.
LEGS = (Role.PREFILL, Role.DECODE)


@pytest.fixture
def phase(environment: Environment) -> ByPhase:
    """How requests are sent different ways. Skips where that is not declared."""
    if environment.routing.phase is None:
        pytest.skip(f"{environment.name} declares no routing.phase")
    return environment.routing.phase


@pytest.fixture
def handed_over(lanes: Lanes, environment: Environment) -> Lane:
    """Lengths of requests that need a prefill and a decode instance."""
    lane = lanes.serving(Role.PREFILL)
    if lane is None:
        pytest.skip(f"{environment.name}: no request that fits into max_model_len is surely handed over")
    return lane


@pytest.fixture
def spread(role: Role, environment: Environment, router: Router) -> Spread:
    """How the instances of the parameter ``role`` are chosen. Skips where there is nothing to choose."""
    routing = environment.routing
    declared = routing.prefill if role is Role.PREFILL else routing.decode
    if declared is None:
        pytest.skip(f"{environment.name} declares no routing.{role}")
    if len(router.names(role)) < 2:
        pytest.skip(f"{environment.name} has one {role} instance only")
    return declared
