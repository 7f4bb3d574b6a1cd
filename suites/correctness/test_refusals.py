"""What cannot be answered is refused: with a status that says so, whoever carries the request."""

from __future__ import annotations

import pytest

from pdtest import Prompts, Request, Route
from pdtest.client.errors import HttpStatusError
from pdtest.client.shapes import Bounds
from pdtest.oracle.handoffs import Handoffs


@pytest.mark.disruptive  # engines may log what they refuse as an error
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_prompt_beyond_the_context_is_refused(
    stream: bool, route: Route, prompts: Prompts, bounds: Bounds, handoff: Handoffs
) -> None:
    """No status 200 with an empty body or with an error in it, and no answer to half of the prompt."""
    too_long = Request.tokens(prompts.tokens(bounds.max_model_len + 1), stream=stream)
    refused = await handoff.send(too_long, route)
    assert refused.answer is None, f"answered: {refused.answer}"
    error = refused.error
    assert isinstance(error, HttpStatusError), f"not refused, but: {error}"
    assert error.status is not None
    assert 400 <= error.status < 600, f"status {error.status} is no refusal"
    await handoff.send(Request.tokens(prompts.tokens(bounds.block_size), max_tokens=1), route)
