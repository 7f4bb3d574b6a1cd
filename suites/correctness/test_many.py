"""Right the first time is not enough: many choices, and many requests in a row."""

from __future__ import annotations

import pytest

from pdtest import Request, Route
from pdtest.oracle.handoffs import Handoffs
from pdtest.plugin.fixtures import Judge

_IN_A_ROW = 200
_WINDOW = 20


@pytest.mark.disruptive  # vLLM 0.32 logs an error when the second choice reads the blocks of the first
@pytest.mark.asks(
    requests=lambda prompts, bounds: [
        Request.tokens(prompts.tokens(2 * bounds.block_size + 5), n=2, temperature=0.8, seed=11)
    ]
)
async def test_two_choices(asked: list[Request], handoff: Handoffs, judge: Judge) -> None:
    """``n`` = 2 hands one prefill to two sequences; both must see its KV."""
    await judge(await handoff(*asked), "both choices equal to colocated, with KV moved for each")


@pytest.mark.asks(
    requests=lambda prompts, bounds: [
        Request.tokens(prompts.tokens(8 + 7 * turn % (2 * bounds.block_size)), max_tokens=4)
        for turn in range(_IN_A_ROW)
    ]
)
async def test_two_hundred_in_a_row(
    route: Route, asked: list[Request], handoff: Handoffs, judge: Judge
) -> None:
    """Drift: right for the first hundred requests, wrong later. One after the other, evidence in between."""
    for start in range(0, len(asked), _WINDOW):
        window = asked[start : start + _WINDOW]
        before = await handoff.read()
        handoffs = [await handoff.send(request, route) for request in window]
        volley = await handoff.settle(before, handoffs)
        await judge(volley, f"requests {start + 1} to {start + len(window)}")
