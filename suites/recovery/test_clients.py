"""Clients that leave, and clients that are too many."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from pdtest import Environment, Prompts, Request, Route, Ruling
from pdtest.environment.scenarios import Phase
from pdtest.environment.schema import Outcome
from pdtest.oracle.handoffs import Handoffs
from pdtest.oracle.oracle import Oracle
from pdtest.oracle.outcome import HEALTHY, ended, permitted
from pdtest.oracle.verdict import Finding
from pdtest.plugin.disruption import NewDrill
from pdtest.plugin.fixtures import Rule

pytestmark = [pytest.mark.recovery, pytest.mark.disruptive]


@pytest.mark.parametrize("phase", list(Phase))
async def test_a_client_leaves(  # noqa: PLR0913, PLR0917 - fixtures are asked for by name
    phase: Phase,
    route: Route,
    pair: tuple[str, ...],
    renewed: Callable[[], Handoffs],
    drill: NewDrill,
    rule: Rule,
) -> None:
    """The work for it ends, its blocks are given back on both sides, and the next request is right."""
    exercise = drill(f"client-leaves-in-{phase}")
    handoffs = renewed() if route is Route.PROXY else renewed().over(*pair)
    since = await exercise.abandon(phase, handoffs, route)
    await exercise.recover(since, route=route, over=pair)
    await exercise.come_to_rest()
    rule(f"a client leaves in {phase}: all is well afterwards", exercise.findings)


_LANES, _EACH = 10, 5


async def test_fifty_clients_leave_in_a_row(
    front: Route, environment: Environment, renewed: Callable[[], Handoffs], drill: NewDrill, rule: Rule
) -> None:
    """Ten at a time, each a little later than the one before, so that phases are left at many moments."""
    exercise, handoffs, phases = drill("fifty-clients-leave"), renewed(), environment.phases
    whole_s = phases.prefill + phases.transfer + phases.decode

    async def lane(number: int) -> int:
        left = 0
        for turn in range(_EACH):
            leaving = asyncio.create_task(handoffs.send(exercise.fresh(16, stream=True), front))
            await asyncio.wait({leaving}, timeout=whole_s * (number * _EACH + turn) / (_LANES * _EACH))
            left += leaving.cancel()
            with suppress(asyncio.CancelledError):
                await leaving
        return left

    left = sum(await asyncio.gather(*map(lane, range(_LANES))))
    exercise.findings.append(
        Finding(
            check="left",
            ruling=Ruling.PASS if left == _LANES * _EACH else Ruling.INCONCLUSIVE,
            text=f"{left} of {_LANES * _EACH} clients left before their answer was there",
        )
    )
    await exercise.recover(time.perf_counter(), route=front)
    await exercise.come_to_rest()
    rule("fifty clients left: all is well afterwards", exercise.findings)


async def test_a_burst_beyond_capacity(  # noqa: PLR0913, PLR0917 - fixtures are asked for by name
    front: Route,
    environment: Environment,
    renewed: Callable[[], Handoffs],
    oracle: Oracle,
    prompts: Prompts,
    drill: NewDrill,
    rule: Rule,
) -> None:
    """More at once than there are blocks for: each has its turn, or is told that it has none."""
    exercise = drill("burst")
    handoffs = renewed().with_timeout(environment.thresholds.request_timeout_s)
    length = environment.model.max_model_len // 2
    requests = [Request.tokens(prompts.tokens(length), max_tokens=4, ignore_eos=True) for _ in range(8)]
    sending = [asyncio.create_task(handoffs.send(request, front)) for request in requests]
    fullest = 0.0
    while not all(task.done() for task in sending):
        for endpoint in handoffs.engines.values():
            metrics = await endpoint.metrics("vllm:kv_cache_usage_perc")
            fullest = max(fullest, metrics.gauge("vllm:kv_cache_usage_perc") or 0.0)
        await asyncio.sleep(0.02)
    exercise.findings.append(
        Finding(
            check="capacity",
            ruling=Ruling.PASS if fullest > _FULL else Ruling.INCONCLUSIVE,
            text=f"at the most {fullest:.0%} of an engine's blocks were in use",
        )
    )
    allowed = frozenset(environment.recovery.get("burst", HEALTHY))
    results = await asyncio.gather(*sending)
    outcomes = await asyncio.gather(*(ended(result, oracle) for result in results))
    exercise.findings += [permitted("burst", outcome, allowed) for outcome in outcomes]
    assert any(outcome.outcome is Outcome.RIGHT for outcome in outcomes), "nobody was answered"
    await exercise.recover(time.perf_counter(), route=front)
    await exercise.come_to_rest()
    rule("a burst: all are answered or told, and all is well afterwards", exercise.findings)


_FULL = 0.6
