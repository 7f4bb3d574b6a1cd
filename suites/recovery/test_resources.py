"""What runs out: blocks of the KV cache, and the disk that logs are written to."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from pdtest import Environment, Request, Route
from pdtest.cluster.cluster import Cluster
from pdtest.faults import ExhaustedKV, FullDisk
from pdtest.oracle.handoffs import Handoffs
from pdtest.oracle.oracle import Oracle
from pdtest.oracle.outcome import HEALTHY, ended, permitted
from pdtest.plugin.disruption import Inflict, NewDrill
from pdtest.plugin.fixtures import Rule

pytestmark = [pytest.mark.recovery, pytest.mark.disruptive]


async def test_prefill_is_full_of_blocks_that_nobody_fetches(  # noqa: PLR0913, PLR0917 - fixtures by name
    environment: Environment,
    pair: tuple[str, ...],
    by_hand: None,
    renewed: Callable[[], Handoffs],
    oracle: Oracle,
    inflict: Inflict,
    drill: NewDrill,
    rule: Rule,
) -> None:
    """A request waits until leases end, or is told; then it is right."""
    if environment.thresholds.lease_s is None:
        pytest.skip("this environment declares no lease (thresholds.lease_s)")
    exercise = drill("exhausted-kv")
    handoffs = renewed().over(*pair).with_timeout(environment.thresholds.request_timeout_s)
    length = environment.model.max_model_len // 3

    async def hold() -> None:
        await handoffs.prefill_only(Request.tokens(exercise.prompts.tokens(length)))

    async with inflict(ExhaustedKV(handoffs.engines[pair[0]], hold, share=0.6)):
        meanwhile = await handoffs.send(exercise.fresh(4), Route.CLIENT)
    since = time.perf_counter()
    allowed = frozenset(environment.recovery.get("exhausted-kv", HEALTHY))
    exercise.findings.append(permitted("exhausted-kv", await ended(meanwhile, oracle), allowed))
    await exercise.recover(since, route=Route.CLIENT, over=pair)
    await exercise.come_to_rest()
    rule("a prefill that is full has room again when leases end", exercise.findings)


async def test_the_disk_of_logs_is_full(  # noqa: PLR0913, PLR0917 - fixtures are asked for by name
    cluster: Cluster,
    pair: tuple[str, ...],
    by_hand: None,
    renewed: Callable[[], Handoffs],
    inflict: Inflict,
    drill: NewDrill,
    rule: Rule,
) -> None:
    """An engine that cannot log goes on to answer."""
    exercise = drill("full-disk")
    async with inflict(FullDisk(cluster, pair[1])):
        meanwhile = renewed().over(*pair)
        for _ in range(3):
            await exercise.require_right("meanwhile", await meanwhile.send(exercise.fresh(2), Route.CLIENT))
        since = time.perf_counter()
    await exercise.recover(since, route=Route.CLIENT, over=pair)
    await exercise.come_to_rest()
    rule("a full disk of logs keeps nobody from being answered", exercise.findings)
