"""A layer scaled by 1 % leaves every token as it was. The oracle must fail it all the same.

Run on environments/vllm-cpu-scaled-layer.yaml; on a healthy environment this test fails, as it should.
"""

from __future__ import annotations

import pytest

from pdtest import Request, Ruling
from pdtest.oracle.handoffs import Handoffs
from pdtest.oracle.oracle import Oracle
from pdtest.oracle.reference import Reference


@pytest.mark.asks(
    requests=lambda prompts, bounds: [
        Request.tokens(prompts.tokens(length), max_tokens=8)
        for length in (bounds.block_size + 3, 2 * bounds.block_size, 4 * bounds.block_size + 9)
    ]
)
async def test_a_scaled_layer_is_caught_although_tokens_are_equal(
    asked: list[Request], handoff: Handoffs, oracle: Oracle, colocated: Reference
) -> None:
    """Each prompt is caught by itself, by its log-probabilities, while the counters see nothing."""
    same_tokens = 0
    for request in asked:
        volley = await handoff(request)
        verdict = await oracle.judge(volley, f"{len(request.prompt)} tokens, one layer scaled")
        assert verdict.ruling is Ruling.FAIL, verdict
        assert {finding.check for finding in verdict.decisive} == {"parity"}, verdict
        reference = await colocated.answer(request)
        same_tokens += volley.handoff.require().token_ids == reference.token_ids
    assert same_tokens, "no prompt kept its tokens: this bug would be seen without log-probabilities"
