"""Members that were started again, and leases that end: what one side knew of the other is not so now."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from pdtest import Environment, Prompts, Request, Role, Route
from pdtest.client.handoff import first_route
from pdtest.cluster.cluster import Cluster
from pdtest.faults import Restart
from pdtest.oracle.handoffs import Handoffs
from pdtest.oracle.oracle import Oracle
from pdtest.oracle.outcome import HEALTHY, ended, permitted
from pdtest.plugin.disruption import Inflict, NewDrill
from pdtest.plugin.fixtures import Rule
from pdtest.wire.contract import Contract

pytestmark = [pytest.mark.recovery, pytest.mark.disruptive]


@pytest.mark.parametrize("role", [Role.PREFILL, Role.DECODE])
async def test_a_peer_restarts(  # noqa: PLR0913, PLR0917 - fixtures are asked for by name
    role: Role,
    contract: Contract,
    cluster: Cluster,
    pair: tuple[str, ...],
    renewed: Callable[[], Handoffs],
    inflict: Inflict,
    drill: NewDrill,
    rule: Rule,
) -> None:
    """They have spoken before; one comes back as another engine, and the other one finds out."""
    exercise, route = drill(f"{role}-restarts"), first_route(contract)
    before = renewed() if route is Route.PROXY else renewed().over(*pair)
    await exercise.require_right("before", await before.send(exercise.fresh(2), route))
    since = time.perf_counter()
    async with inflict(Restart(cluster, cluster.with_role(role)[0].name)):
        await exercise.recover(since, route=route, over=pair)
    await exercise.come_to_rest()
    await exercise.prove(route=route, over=pair)
    rule(f"{role} restarts: the other one finds out", exercise.findings)


@pytest.mark.usefixtures("by_hand")
async def test_decode_comes_for_blocks_of_a_former_life(  # noqa: PLR0913, PLR0917 - fixtures by name
    environment: Environment,
    cluster: Cluster,
    pair: tuple[str, ...],
    renewed: Callable[[], Handoffs],
    oracle: Oracle,
    inflict: Inflict,
    drill: NewDrill,
    rule: Rule,
) -> None:
    """Prefill answered, and was started again before decode came: what it held is gone."""
    exercise = drill("stale-engine")
    request = exercise.fresh(8)
    params = await renewed().over(*pair).prefill_only(request)
    since = time.perf_counter()
    async with inflict(Restart(cluster, pair[0])):
        handoffs = renewed().over(*pair).with_timeout(environment.thresholds.hang_s)
        # Something else lies now where the prompt's blocks were.
        await exercise.require_right("before", await handoffs.send(exercise.fresh(2), Route.CLIENT))
        late = await handoffs.decode_only(request, params or {})
    allowed = frozenset(environment.recovery.get("stale-engine", HEALTHY))
    exercise.findings.append(permitted("stale-engine", await ended(late, oracle), allowed))
    await exercise.recover(since, route=Route.CLIENT, over=pair)
    await exercise.come_to_rest()
    rule("blocks of a former life are not taken for others", exercise.findings)


@pytest.mark.usefixtures("by_hand")
@pytest.mark.parametrize("early_s", [0.1, -0.1])
async def test_a_lease_ends_as_decode_comes(  # noqa: PLR0913, PLR0917 - fixtures are asked for by name
    early_s: float,
    environment: Environment,
    pair: tuple[str, ...],
    renewed: Callable[[], Handoffs],
    oracle: Oracle,
    drill: NewDrill,
    rule: Rule,
) -> None:
    """A slow decode asks a moment before the lease ends, or after it: it gets the right blocks or none."""
    lease_s = _lease_s(environment)
    exercise = drill("late-decode")
    handoffs, request = renewed().over(*pair).with_timeout(environment.thresholds.hang_s), exercise.fresh(8)
    params = await handoffs.prefill_only(request)
    await asyncio.sleep(lease_s - early_s)
    late = await handoffs.decode_only(request, params or {})
    allowed = frozenset(environment.recovery.get("late-decode", HEALTHY))
    exercise.findings.append(permitted("late-decode", await ended(late, oracle), allowed))
    await exercise.come_to_rest()
    rule("a lease that ends as decode comes gives the right answer or none", exercise.findings)


@pytest.mark.usefixtures("by_hand")
async def test_decode_comes_when_others_have_the_blocks(  # noqa: PLR0913, PLR0917 - fixtures by name
    environment: Environment,
    pair: tuple[str, ...],
    renewed: Callable[[], Handoffs],
    oracle: Oracle,
    prompts: Prompts,
    drill: NewDrill,
    rule: Rule,
) -> None:
    """The lease has ended and the blocks hold another prompt. Whoever notices may say no; nobody may die."""
    lease_s = _lease_s(environment)
    exercise = drill("lost-lease")
    handoffs, request = renewed().over(*pair).with_timeout(environment.thresholds.hang_s), exercise.fresh(8)
    params = await handoffs.prefill_only(request)
    expired, prefill = handoffs.contract.evidence.expired, handoffs.engines[pair[0]]
    assert expired is not None, f"{handoffs.contract.name} counts no leases that ended"
    await asyncio.sleep(lease_s)
    await exercise.come_to_rest()
    longest = environment.model.max_model_len - 8
    await prefill.generate(Request.tokens(prompts.tokens(longest), max_tokens=1))
    await prefill.generate(Request.tokens(prompts.tokens(longest), max_tokens=1))
    late = await handoffs.decode_only(request, params or {})
    allowed = frozenset(environment.recovery.get("lost-lease", HEALTHY))
    exercise.findings.append(permitted("lost-lease", await ended(late, oracle), allowed))
    await exercise.recover(time.perf_counter(), route=Route.CLIENT, over=pair)
    await exercise.come_to_rest()
    rule("blocks that others have taken over", exercise.findings)


def _lease_s(environment: Environment) -> float:
    lease_s = environment.thresholds.lease_s
    if lease_s is None:
        pytest.skip("this environment declares no lease (thresholds.lease_s)")
    return lease_s
