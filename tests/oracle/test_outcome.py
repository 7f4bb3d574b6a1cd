from __future__ import annotations

from dataclasses import replace

import pytest

from pdtest.client.request import Request
from pdtest.environment.schema import Outcome
from pdtest.oracle.oracle import Oracle
from pdtest.oracle.outcome import ended
from pdtest.oracle.parity import Tolerance

from .fakes import FakeReference, Model, answer_of, handoff_of

ASKED = Request.tokens((1, 2, 3), max_tokens=6)


async def outcome(*tokens_wrong_at: int, tokens: int, finish_reason: str) -> Outcome:
    """Of an answer of so many tokens, some of them wrong."""
    (choice,) = Model().answer(replace(ASKED, max_tokens=tokens)).choices
    ids = tuple(
        token + 1 if place in tokens_wrong_at else token for place, token in enumerate(choice.token_ids or ())
    )
    seen = answer_of(replace(choice, token_ids=ids, finish_reason=finish_reason), prompt=(1, 2, 3))
    oracle = Oracle(reference=FakeReference(), tolerance=Tolerance(logprob=1e-4), block_size=16)
    return (await ended(handoff_of(ASKED, seen), oracle)).outcome


@pytest.mark.parametrize(
    ("finish_reason", "tokens", "wrong_at", "expected"),
    [
        ("length", 6, (), Outcome.RIGHT),
        ("length", 4, (), Outcome.WRONG),
        ("abort", 4, (), Outcome.ERROR),
        ("abort", 4, (2,), Outcome.WRONG),
    ],
)
async def test_what_was_broken_off_and_says_so_is_an_error_if_what_came_is_right(
    finish_reason: str, tokens: int, wrong_at: tuple[int, ...], expected: Outcome
) -> None:
    assert await outcome(*wrong_at, tokens=tokens, finish_reason=finish_reason) is expected


async def test_no_answer_is_an_error() -> None:
    oracle = Oracle(reference=FakeReference(), tolerance=Tolerance(logprob=1e-4), block_size=16)
    assert (await ended(handoff_of(ASKED, None), oracle)).outcome is Outcome.ERROR
