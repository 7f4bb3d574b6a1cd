from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdtest.client.request import Request
from pdtest.oracle.forcing import is_drawn, is_repeatable, remainder, teacher_forced, weighing
from pdtest.oracle.parity import Divergence

from .fakes import PROMPT, Model

REQUEST = Request.tokens(PROMPT, max_tokens=8)
ANSWER = Model().answer(REQUEST)


@given(st.integers(0, 6))
def test_forced_reference_and_remainder_are_of_one_length(position: int) -> None:
    forced = teacher_forced(REQUEST, ANSWER, ANSWER, position)
    assert forced is not None
    rest = remainder(ANSWER, position).choices[0]
    assert forced.max_tokens == len(rest.token_ids or ()) == len(rest.logprobs or ()) == len(rest.top or ())
    # A deterministic model gives the same tokens when it is asked to go on from its own.
    assert Model().answer(forced).token_ids == rest.token_ids


@pytest.mark.parametrize(
    ("changes", "request_changes"),
    [
        ({"prompt_token_ids": None}, {}),
        ({"choices": (replace(ANSWER.choices[0], token_ids=None),)}, {}),
        ({"choices": ANSWER.choices * 2}, {}),
        ({}, {"temperature": 0.5, "seed": 1}),
        ({}, {"max_tokens": 3}),
    ],
    ids=["prompt unknown", "tokens unknown", "two choices", "drawn", "budget spent"],
)
def test_what_cannot_be_forced(changes: dict[str, Any], request_changes: dict[str, Any]) -> None:
    answer, request = replace(ANSWER, **changes), replace(REQUEST, **request_changes)
    assert teacher_forced(request, answer, answer, 2) is None


def test_weighing_needs_the_prompts_token_ids() -> None:
    divergence = Divergence(choice=0, position=2, block=0, expected=1, seen=2, margin=None)
    assert weighing(REQUEST, replace(ANSWER, prompt_token_ids=None), divergence, 2) is None
    assert weighing(replace(REQUEST, temperature=1.0, seed=1), ANSWER, divergence, 2) is None
    assert weighing(REQUEST, ANSWER, divergence, 2) is not None


@pytest.mark.parametrize(
    ("settings", "drawn", "repeatable"),
    [
        ({}, False, True),
        ({"temperature": 0.7}, True, False),
        ({"temperature": 0.7, "seed": 0}, True, True),
        ({"extra": {"temperature": 0.7}}, True, False),
        ({"temperature": 0.7, "extra": {"temperature": 0}}, False, True),
        ({"extra": {"temperature": None}}, True, False),
    ],
)
def test_drawn_and_repeatable(settings: dict[str, Any], drawn: bool, repeatable: bool) -> None:
    request = replace(REQUEST, **settings)
    assert (is_drawn(request), is_repeatable(request)) == (drawn, repeatable)
