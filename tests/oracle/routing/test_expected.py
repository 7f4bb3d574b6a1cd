from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdtest.client.request import Request
from pdtest.environment.routing import ByPhase
from pdtest.oracle.routing.expected import Lengths, Span, expected
from pdtest.routing.served import Path

THRESHOLD = ByPhase(policy="threshold", input_threshold=128, ratio=4.0)
ADAPTIVE = ByPhase(policy="adaptive", input_threshold=128, ratio=4.0, flex=2.0)


def ways(prompt: int, answer: int, phase: ByPhase | None = THRESHOLD, *, hybrids: bool = True) -> set[Path]:
    return {*expected(phase, Lengths(prompt=Span.exactly(prompt), answer=answer), hybrids=hybrids)}


@pytest.mark.parametrize(
    ("prompt", "answer", "way"),
    [
        (128, 32, Path.PREFILL),
        (127, 31, Path.HYBRID),
        (128, 33, Path.HYBRID),
        (127, 32, Path.DECODE),
        (2000, 1, Path.PREFILL),
        (1, 1, Path.DECODE),
        (4, 1, Path.HYBRID),
        (3, 1, Path.DECODE),
    ],
)
def test_both_limits_are_reached_by_equality(prompt: int, answer: int, way: Path) -> None:
    assert ways(prompt, answer) == {way}


@pytest.mark.parametrize(("prompt", "answer"), [(127, 31), (128, 33)])
def test_what_a_hybrid_would_get_is_handed_over_where_there_is_none(prompt: int, answer: int) -> None:
    assert ways(prompt, answer, hybrids=False) == {Path.PREFILL}


def test_without_phases_everything_is_handed_over() -> None:
    assert ways(1, 1000, None) == {Path.PREFILL}


def test_a_ratio_is_the_decimal_that_was_written() -> None:
    """As a binary fraction 0.1 is a little more than a tenth."""
    phase = ByPhase(policy="threshold", input_threshold=1, ratio=0.1)
    assert ways(1, 10, phase) == {Path.PREFILL}
    assert ways(1, 11, phase) == {Path.HYBRID}


def test_an_adaptive_router_decides_between_the_bounds() -> None:
    assert ways(63, 16, ADAPTIVE) == {Path.HYBRID, Path.DECODE}
    assert ways(64, 16, ADAPTIVE) == {Path.PREFILL, Path.HYBRID}
    assert ways(255, 300, ADAPTIVE) == {Path.PREFILL, Path.HYBRID, Path.DECODE}
    assert ways(256, 64, ADAPTIVE) == {Path.PREFILL}
    assert ways(3, 500, ADAPTIVE) == {Path.DECODE}


lengths = st.integers(min_value=1, max_value=600)


@settings(deadline=None)
@given(prompt=lengths, answer=lengths, hybrids=st.booleans())
def test_lengths_alone_leave_one_way(prompt: int, answer: int, hybrids: bool) -> None:
    assert len(ways(prompt, answer, hybrids=hybrids)) == 1


@settings(deadline=None)
@given(prompt=lengths, answer=lengths, hybrids=st.booleans())
def test_what_lengths_demand_an_adaptive_router_may_do(prompt: int, answer: int, hybrids: bool) -> None:
    assert ways(prompt, answer, hybrids=hybrids) <= ways(prompt, answer, ADAPTIVE, hybrids=hybrids)


@settings(deadline=None)
@given(least=lengths, more=lengths, answer=lengths)
def test_a_length_in_doubt_allows_what_each_that_it_may_be_allows(least: int, more: int, answer: int) -> None:
    doubtful = Lengths(prompt=Span(least=least, most=least + more), answer=answer)
    allowed = expected(THRESHOLD, doubtful, hybrids=True)
    for prompt in (least, least + more // 2, least + more):
        assert ways(prompt, answer) <= allowed


def test_texts_are_known_within_bounds() -> None:
    assert str(Lengths.of(Request.tokens((1, 2, 3), max_tokens=7))) == "3 tokens for an answer of 7"
    text = Lengths.of(Request.text("x" * 100, max_tokens=7)).prompt
    assert (text.least, text.most) == (20, 100)
    chat = Lengths.of(Request.chat("x" * 100, max_tokens=7)).prompt
    assert chat.least == 20
    assert chat.most > 100
