"""Blocks are given back: after the transfer on both sides, and on prefill when nobody comes for them."""

from __future__ import annotations

import asyncio
import time

import pytest

from pdtest import Environment, Request, Route
from pdtest.client.endpoint import Endpoint
from pdtest.oracle.handoffs import Handoffs
from pdtest.plugin.fixtures import Judge, Rule, SeekQuiet
from pdtest.services.engine_flags import ranks

_USAGE = "vllm:kv_cache_usage_perc"


async def _usage(endpoint: Endpoint) -> float:
    """Share of the KV cache in use, 0 to 1."""
    usage = (await endpoint.metrics()).gauge(_USAGE)
    assert usage is not None, f"{endpoint.name} does not export {_USAGE}"
    return usage


async def _rises_to(endpoint: Endpoint, counter: str, value: float, within_s: float) -> float | None:
    """The counter, once it has reached ``value`` or the time is over: counters are exported with a lag."""
    deadline = time.monotonic() + within_s
    while True:
        seen = (await endpoint.metrics()).total(counter)
        if (seen is not None and seen >= value) or time.monotonic() > deadline:
            return seen
        await asyncio.sleep(0.1)


@pytest.mark.asks(
    requests=lambda prompts, bounds: [
        Request.tokens(prompts.tokens(4 * bounds.block_size + turn)) for turn in range(4)
    ]
)
async def test_both_sides_are_idle_after_the_answers(  # noqa: PLR0913, PLR0917 - fixtures are asked for by name
    route: Route,
    asked: list[Request],
    handoff: Handoffs,
    judge: Judge,
    quiet: SeekQuiet,
    rule: Rule,
) -> None:
    """KV usage returns to nothing on prefill and decode within `release_s`, with no lease ended for it."""
    await quiet()
    # An engine may export what it counted of earlier requests with the step of the first of these.
    first, *others = asked
    await judge(await handoff(first, route=route))
    before = await handoff.read()
    await judge(await handoff(*others, route=route))
    rule("blocks are given back", (await quiet()).findings())
    expired = handoff.contract.evidence.expired
    if expired is not None:
        ended = (await handoff.window(before)).rise(expired)
        assert not ended, f"{ended:g} leases ended: prefill held blocks that nobody fetched"


@pytest.mark.usefixtures("led_by_hand")
async def test_prefill_holds_blocks_for_its_lease_and_no_longer(
    environment: Environment,
    prefill: Endpoint,
    handoff: Handoffs,
    prompts_of_a_block_and_a_bit: Request,
    quiet: SeekQuiet,
) -> None:
    """No decode ever comes: the blocks wait, then the lease ends, is counted, and they are free."""
    lease, expired = environment.thresholds.lease_s, handoff.contract.evidence.expired
    if lease is None or expired is None:
        pytest.skip("this environment declares no lease (thresholds.lease_s), or its connector has none")
    idle = await quiet(prefill.name, within_s=lease + environment.thresholds.release_s)
    assert idle.reached, f"prefill does not give up what earlier tests have left there: {idle}"
    began = time.monotonic()
    assert await handoff.prefill_only(prompts_of_a_block_and_a_bit) is not None
    # Only now: an engine may export what it counted of earlier requests with the step of this one.
    before = (await prefill.metrics()).total(expired.name)
    assert before is not None, f"prefill does not export {expired.name}"
    await asyncio.sleep(lease / 2)
    assert await _usage(prefill) > 0, (
        f"prefill gave the blocks up {time.monotonic() - began:.1f} s into the lease"
    )
    idle = await quiet(prefill.name, within_s=lease / 2 + environment.thresholds.release_s)
    held = time.monotonic() - began
    assert idle.reached, f"prefill still holds the blocks {held:.1f} s after its answer: {idle}"
    assert held >= lease * 0.9, f"prefill held the blocks for {held:.1f} s only, the lease is {lease:g} s"
    counted = await _rises_to(prefill, expired.name, before + 1, environment.thresholds.settle_s)
    # vLLM 0.32 counts it on each rank.
    most = ranks(environment.members[prefill.name])
    assert counted is not None
    assert 1 <= counted - before <= most, "the expiry was not counted once, or once by each rank"
