"""The requests by which users try out a deployment: a sentence and a paragraph, with long greedy answers."""

from __future__ import annotations

import pytest

from pdtest import Prompts, Request, Route
from pdtest.client.shapes import Bounds
from pdtest.oracle.handoffs import Handoffs
from pdtest.plugin.fixtures import Judge

_SENTENCE = "Please explain in a few words why the sky is blue during the day and red in the evening."
_PARAGRAPH = (
    "A small town by the sea had one lighthouse and one keeper. Every evening he climbed the stairs, cleaned "
    "the glass, lit the lamp and wrote down which ships had passed. One night the fog was so thick that "
    "nobody could see the light, and he rang the old bell by hand until the morning. Three boats found their "
    "way home by its sound. Years later the town bought a machine that did all of this by itself, but on "
    "foggy nights people still say that they hear the bell. Continue the story from the keeper's point of "
    "view, and end it with what he wrote into his book."
)


def _familiar(prompts: Prompts, bounds: Bounds) -> list[Request]:
    """200 tokens for the sentence, 256 for the paragraph, of several blocks; half the context at most."""
    room = bounds.max_model_len // 2
    # Behind a number of their own: no prefix cache knows them from the last time.
    return [
        Request.text(f"{prompts.text(1)} {text}", max_tokens=min(tokens, room))
        for text, tokens in ((_SENTENCE, 200), (_PARAGRAPH, 256))
    ]


@pytest.mark.asks(requests=_familiar)
async def test_a_sentence_and_a_paragraph(
    route: Route, asked: list[Request], handoff: Handoffs, judge: Judge
) -> None:
    """Equal to colocated over hundreds of tokens: decode goes on far beyond the blocks that came."""
    await judge(await handoff(*asked, route=route), "a sentence (200 tokens) and a paragraph (256 tokens)")
