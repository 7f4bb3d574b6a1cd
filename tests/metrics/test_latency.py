"""Waits, on streams made by hand."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdtest.metrics.latency import (
    Since,
    arrivals,
    between_events,
    between_tokens,
    e2e,
    latency_measures,
    tpot,
    ttft,
)

from .streams import exchange, named

#: Due at 1, sent at 1.5; the answer is 1 token at 2, 3 tokens in two events of one read at 3, 1 token at 3.5.
ONE = exchange((2.0, 1), (3.0, 2), (3.0, 1), (3.5, 1), due_s=1.0, sent_s=1.5, reads=(0, 1, 1, 2), usage=5)


def test_waits_count_from_due_or_from_sent() -> None:
    assert ttft(ONE) == pytest.approx(1.0)
    assert ttft(ONE, Since.SENT) == pytest.approx(0.5)
    assert e2e(ONE) == pytest.approx(2.5)
    assert e2e(ONE, Since.SENT) == pytest.approx(2.0)


def test_without_a_time_of_its_own_a_request_is_due_when_it_is_sent() -> None:
    closed = ONE.model_copy(update={"due_s": None})

    assert ttft(closed) == ttft(closed, Since.SENT) == pytest.approx(0.5)


def test_the_end_of_the_connection_is_not_waited_for() -> None:
    late = ONE.model_copy(update={"ended_s": 60.0})

    assert e2e(late) == pytest.approx(2.5)


def test_events_of_one_read_are_one_arrival() -> None:
    assert [(one.at_s, one.tokens) for one in arrivals(ONE)] == [(2.0, 1), (3.0, 3), (3.5, 1)]
    assert [*between_events(ONE)] == pytest.approx([1.0, 0.0, 0.5])
    assert [*between_tokens(ONE)] == [(1.0 / 3, 3), (0.5, 1)]


def test_time_per_token_leaves_out_what_came_first() -> None:
    assert tpot(ONE) == pytest.approx(1.5 / 4)
    assert tpot(exchange((1.0, 3), (2.0, 1))) == pytest.approx(1.0)


def test_time_per_token_goes_by_the_servers_count() -> None:
    """Two tokens had no text of their own, and so no event."""
    assert tpot(exchange((1.0, 1), (2.0, 1), usage=5)) == pytest.approx(0.25)


@pytest.mark.parametrize("events", [(), ((1.0, 1),), ((1.0, 7),)])
def test_what_came_at_once_has_no_time_per_token(events: tuple[tuple[float, int], ...]) -> None:
    assert tpot(exchange(*events)) is None
    assert [*between_tokens(exchange(*events))] == []


def test_an_answer_without_tokens_has_no_latency() -> None:
    silent = exchange(usage=0)

    assert ttft(silent) is None
    assert e2e(silent) is None
    assert silent.tokens == 0


EVENTS = st.lists(st.tuples(st.floats(0.001, 5), st.integers(1, 4), st.booleans()), min_size=2, max_size=40)


@given(EVENTS)
def test_the_parts_add_up(events: list[tuple[float, int, bool]]) -> None:
    """However events are read, gaps make up the time from first to last, and tokens are not lost."""
    at_s, read = 0.0, 0
    made: list[tuple[float, int]] = []
    reads: list[int] = []
    for gap, tokens, together in events:
        at_s, read = (at_s, read) if together and made else (at_s + gap, read + 1)
        made.append((at_s, tokens))
        reads.append(read)
    one = exchange(*made, reads=tuple(reads))

    span = made[-1][0] - made[0][0]
    later = one.tokens - arrivals(one)[0].tokens
    assert sum(between_events(one)) == pytest.approx(span)
    assert sum(gap * tokens for gap, tokens in between_tokens(one)) == pytest.approx(span)
    assert sum(tokens for _, tokens in between_tokens(one)) == later
    if later:
        assert tpot(one) == pytest.approx(span / later)
    assert e2e(one) == pytest.approx((ttft(one) or 0) + span)
    assert all(earlier.at_s < late.at_s for earlier, late in pairwise(arrivals(one)))


def test_measures_know_one_slow_answer_from_many_tokens() -> None:
    slow, quick = exchange((1.0, 1), (3.0, 1)), exchange(*((1.0 + 0.1 * n, 1) for n in range(11)))

    measures = [*latency_measures([slow, quick])]

    assert named(measures, "tpot_mean").value == pytest.approx((2.0 + 0.1) / 2)
    assert named(measures, "tbt_mean").value == pytest.approx((2.0 + 1.0) / 11)
    assert named(measures, "tbt_mean").samples == 11
    assert named(measures, "ttft_mean").value == pytest.approx(1.0)
    assert named(measures, "e2e_max").value == pytest.approx(3.0)


def test_nothing_answered_is_said_and_not_zero() -> None:
    for measure in latency_measures([]):
        assert measure.value is None
        assert measure.why
