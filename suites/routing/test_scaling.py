"""A deployment grows with its load and shrinks after it, between its bounds, and loses no request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

import pytest

from pdtest.cluster.cluster import Cluster
from pdtest.environment.routing import Scaling
from pdtest.environment.schema import Environment, Role
from pdtest.oracle.routing.lanes import Lane
from pdtest.oracle.routing.scaling import scaling_findings
from pdtest.oracle.routing.traffic import Errands
from pdtest.plugin.fixtures import Rule
from pdtest.plugin.routing import Joined
from pdtest.routing.scaler import Scaler

#: Requests under way for each instance during the load, and between two requests after it. Seconds.
_PER_INSTANCE, _PAUSE_S = 4, 0.4
#: How long it may take until instances came, or went, beyond what is declared and what starting them takes.
_SPARE_S = 30.0


@pytest.fixture
def standing(environment: Environment, cluster: Cluster) -> Mapping[Role, int]:
    """How many run of each role that is scaled and has members on standby. Skips where there are none."""
    scaling = environment.routing.scaling or Scaling()
    bounds = {Role.PREFILL: scaling.prefill, Role.DECODE: scaling.decode}
    spare = {one.role for one in environment.members.values() if one.standby}
    found = {
        role: sum(one.role is role for one in cluster.wanted)
        for role, limit in bounds.items()
        if limit is not None and role in spare
    }
    if not found:
        pytest.skip(f"{environment.name} has no member on standby of a role that routing.scaling bounds")
    return found


async def test_instances_come_with_the_load_and_go_after_it(  # noqa: PLR0913, PLR0917 - fixtures
    scaler: Scaler,
    standing: Mapping[Role, int],
    cluster: Cluster,
    joined: Joined,
    handed_over: Lane,
    errands: Errands,
    rule: Rule,
) -> None:
    """One more of each is wanted, started, used within `takes_up_s`; then it is removed, and ended idle."""
    router = joined(*(name for name, one in cluster.environment.members.items() if one.standby))
    within_s = router.settings.takes_up_s

    async def grown() -> None:
        await _until(scaler, lambda: _roles(scaler, "added") >= standing.keys())
        await asyncio.sleep(within_s)

    async def shrunk() -> None:
        await _until(scaler, lambda: _roles(scaler, "removed") >= standing.keys())

    at_once = _PER_INSTANCE * sum(standing.values())
    with scaler:
        traffic = await router.steadily(errands.endless(handed_over), at_once=at_once, during=grown)
        going = asyncio.create_task(shrunk())
        while not going.done():
            traffic += await router.at_once(*errands.of(handed_over))
            await asyncio.sleep(_PAUSE_S)
        await going
    rule("it grows and shrinks", scaling_findings(scaler.heard, scaler.done, traffic, standing, within_s))


def _roles(scaler: Scaler, change: str) -> set[Role]:
    return {Role(one.event.role) for one in scaler.done if one.event.change == change}


async def _until(scaler: Scaler, reached: Callable[[], bool]) -> None:
    """Or until there was enough time: what is missing then, the findings say."""
    deadline = time.monotonic() + _SPARE_S
    while not reached() and time.monotonic() < deadline:
        scaler.check()
        await asyncio.sleep(0.05)
