"""Every request shape in which handoff bugs hide: the answer is the colocated one, and KV moved."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pdtest import Environment, Prompts, Request, Route
from pdtest.client.shapes import Bounds, Shape
from pdtest.oracle.gallery import Gallery
from pdtest.oracle.handoffs import Handoffs
from pdtest.oracle.parity import Tolerance, compare
from pdtest.oracle.reference import Reference
from pdtest.plugin.fixtures import Judge


async def test_shape(  # noqa: PLR0913, PLR0917 - fixtures are asked for by name
    shape: Shape,
    route: Route,
    asked: list[Request],
    gallery: Gallery,
    colocated: Reference,
    handoff: Handoffs,
    judge: Judge,
    prompts: Prompts,
    bounds: Bounds,
) -> None:
    """All shapes are in flight at once, and each is judged by itself."""
    volley = await gallery.one(asked[0], shape.make(prompts, bounds), handoff, colocated)
    await judge(volley, f"{shape} by {route}: equal to colocated, with KV moved")


@pytest.mark.asks(
    requests=lambda prompts, bounds: [
        Request.tokens(prompts.tokens(bounds.block_size + 7)) for _ in range(16)
    ]
)
async def test_sixteen_at_once(route: Route, asked: list[Request], handoff: Handoffs, judge: Judge) -> None:
    """No answer bleeds into another: each prompt is a nonce of its own, and its answer depends on it."""
    await judge(await handoff(*asked, route=route), "16 at once: each gets its own answer")


@pytest.mark.asks(requests=lambda prompts, _: [Request.chat(prompts.text(12), max_tokens=8)])
async def test_chat_is_a_completion_of_its_template(
    asked: list[Request], handoff: Handoffs, judge: Judge
) -> None:
    """The tokens of a chat, sent again as a completion, get the same tokens back."""
    chat = await handoff(*asked)
    await judge(chat)
    answer = chat.handoff.require()
    assert answer.prompt_token_ids is not None, "the server does not return the prompt's token ids"
    again = Request.tokens(answer.prompt_token_ids, max_tokens=8)
    plain = (await handoff.send(again)).require()
    assert plain.token_ids == answer.token_ids


@pytest.mark.asks(
    requests=lambda prompts, bounds: [Request.tokens(prompts.tokens(2 * bounds.block_size + 9))]
)
async def test_streaming_changes_nothing(  # noqa: PLR0913, PLR0917 - fixtures are asked for by name
    route: Route,
    asked: list[Request],
    environment: Environment,
    handoff: Handoffs,
    judge: Judge,
    bounds: Bounds,
) -> None:
    """The same request whole and streamed: the same tokens, log-probabilities, text and finish reason."""
    whole = await handoff(*asked, route=route)
    await judge(whole)
    streamed = (await handoff.send(replace(asked[0], stream=True), route)).require()
    expected = whole.handoff.require()
    tolerance = Tolerance.of(environment)
    seen = compare(streamed, expected, tolerance=tolerance, block_size=bounds.block_size)
    assert seen.equal, seen
    assert streamed.usage.completion_tokens == expected.usage.completion_tokens
    assert len(streamed.timings.arrivals) > 1, "the answer came in one piece"
