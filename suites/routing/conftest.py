"""What the tests of this suite share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import pytest
import pytest_asyncio

from pdtest import Environment
from pdtest.client.endpoint import Endpoint
from pdtest.environment.routing import ByPhase, Spread
from pdtest.environment.schema import Role
from pdtest.oracle.routing.decisions import figures_of
from pdtest.oracle.routing.lanes import Lane, Lanes
from pdtest.oracle.routing.router import Router

#: Those that a request which is handed over needs.
LEGS = (Role.PREFILL, Role.DECODE)

#: By instance, 1 while it is sent requests (embedded proxy).
_IN_USE = "pdtest_proxy_up"


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


@pytest.fixture
def watched(role: Role, router: Router, engines: Mapping[str, Endpoint]) -> Mapping[str, Endpoint]:
    """Clients of the instances of the parameter ``role``."""
    return {name: engines[name] for name in router.names(role)}


@pytest_asyncio.fixture(autouse=True, loop_scope="function")
async def everybody_in(router: Router) -> None:
    """Waits until the router uses all its instances, where it says so: it may serve before that."""
    deadline = time.monotonic() + router.settings.takes_up_s
    while time.monotonic() < deadline:
        figures = await figures_of(router.endpoint)
        in_use = figures.total(_IN_USE) if figures is not None else None
        if in_use is None or in_use >= len(router.roles):
            return
        await asyncio.sleep(0.05)
