"""What goes over the wire, field by field."""

from __future__ import annotations

import pytest

from pdtest import Request
from pdtest.oracle.handoffs import Handoffs
from pdtest.plugin.fixtures import Judge
from pdtest.wire.contract import Contract, Leg

pytestmark = pytest.mark.usefixtures("led_by_hand")


@pytest.mark.asks(
    requests=lambda prompts, bounds: [
        Request.tokens(prompts.tokens(length)) for length in (1, bounds.block_size, 2 * bounds.block_size + 5)
    ]
)
async def test_every_leg_keeps_the_contract(asked: list[Request], handoff: Handoffs, judge: Judge) -> None:
    """Required fields are there, typed and sensible; extra ones are recorded in events.jsonl."""
    volley = await handoff(*asked)
    for seen in volley.handoffs:
        assert [review.leg for review in seen.reviews] == list(Leg)
        assert not seen.breaches, "\n".join(map(str, seen.breaches))
    await judge(volley)


async def test_both_legs_carry_one_request_id(
    handoff: Handoffs, prompts_of_a_block_and_a_bit: Request
) -> None:
    """X-Request-Id is the same on both legs, and each member's answer is named after it."""
    seen = await handoff.send(prompts_of_a_block_and_a_bit)
    assert seen.prefill is not None
    assert seen.prefill.answer is not None
    assert seen.request_id in str(seen.prefill.answer.raw["id"])
    assert seen.request_id in str(seen.require().raw["id"])


async def test_params_name_as_many_blocks_as_the_prompt_has(
    contract: Contract, handoff: Handoffs, prompts_of_a_block_and_a_bit: Request, block_size: int
) -> None:
    """One id per block of the prompt: fewer lose its end, more read somebody else's."""
    seen = await handoff.send(prompts_of_a_block_and_a_bit)
    tokens = seen.require().usage.prompt_tokens
    assert seen.prefill is not None
    groups = contract.block_ids(seen.prefill.answered or {})
    if groups is None:
        pytest.skip(f"{contract.name}: prefill names no blocks in its answer")
    for group in groups:
        assert len(group) == -(-tokens // block_size)
        assert len(set(group)) == len(group), "a block is named twice"
