"""Tokens and bytes that moved are exactly what the prompts demand, and nothing was computed again."""

from __future__ import annotations

import pytest

from pdtest import Prompts, Request, Route
from pdtest.client.endpoint import Endpoint
from pdtest.client.shapes import Bounds
from pdtest.oracle.handoffs import Handoffs
from pdtest.plugin.fixtures import Judge


def _around_a_block(prompts: Prompts, bounds: Bounds) -> list[Request]:
    lengths = (1, bounds.block_size - 1, bounds.block_size, bounds.block_size + 1, 5 * bounds.block_size + 2)
    return [Request.tokens(prompts.tokens(length), max_tokens=4) for length in lengths]


@pytest.mark.asks(requests=_around_a_block)
async def test_each_prompt_moves_by_itself(asked: list[Request], handoff: Handoffs, judge: Judge) -> None:
    """One after the other, so that every prompt has counters of its own."""
    for request in asked:
        await judge(await handoff(request), f"{len(request.prompt)} tokens")


@pytest.mark.asks(requests=_around_a_block)
async def test_together_they_move_the_sum(
    route: Route, asked: list[Request], handoff: Handoffs, judge: Judge
) -> None:
    """At once the totals are still exact: nothing is fetched twice, nothing is left out."""
    await judge(await handoff(*asked, route=route), "five prompts at once")


async def test_a_plain_request_moves_nothing(
    decode: Endpoint, handoff: Handoffs, prompts_of_a_block_and_a_bit: Request
) -> None:
    """The counters that prove a transfer stay where they are when decode computes by itself."""
    before = await handoff.read()
    answer = await decode.generate(prompts_of_a_block_and_a_bit)
    window = await handoff.window(before)
    evidence = handoff.contract.evidence
    assert answer.usage.prompt_tokens == len(prompts_of_a_block_and_a_bit.prompt)
    assert window.rise(evidence.tokens.transferred) == 0
    assert window.rise(evidence.tokens.computed) == answer.usage.prompt_tokens
    assert not evidence.moved or window.rise(evidence.moved) == 0
