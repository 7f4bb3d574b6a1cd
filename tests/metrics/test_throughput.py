"""What was served in a second."""

from __future__ import annotations

import pytest

from pdtest.metrics.throughput import load_measures, throughput_measures

from .streams import exchange, named

ANSWERED = (
    exchange((1.0, 1), (2.0, 2), sent_s=0.5, due_s=0.5, prompt_tokens=10),
    exchange((3.0, 1), (5.0, 4), sent_s=2.5, due_s=2.5, prompt_tokens=20),
)
BROKEN = exchange((1.0, 50), sent_s=0.5, due_s=0.5, prompt_tokens=1000, error="it broke off")


def test_the_whole_run_has_what_was_answered() -> None:
    measures = [*throughput_measures([*ANSWERED, BROKEN], lasted_s=10, steady_s=None)]

    assert named(measures, "requests_per_s").value == pytest.approx(0.2)
    assert named(measures, "output_tokens_per_s").value == pytest.approx(0.8)
    assert named(measures, "total_tokens_per_s").value == pytest.approx(3.8)


def test_the_steady_window_has_what_fell_into_it() -> None:
    """From 2 on, up to and without 5."""
    measures = [*throughput_measures([*ANSWERED, BROKEN], lasted_s=10, steady_s=(2.0, 5.0))]

    assert named(measures, "requests_per_s_steady").value == pytest.approx(1 / 3)
    assert named(measures, "output_tokens_per_s_steady").value == pytest.approx(3 / 3)
    assert named(measures, "total_tokens_per_s_steady").value == pytest.approx(23 / 3)


def test_without_a_steady_window_there_is_no_rate_in_it() -> None:
    measures = [*throughput_measures(ANSWERED, lasted_s=10, steady_s=None)]

    for name in ("requests_per_s_steady", "output_tokens_per_s_steady", "total_tokens_per_s_steady"):
        assert named(measures, name).value is None
        assert named(measures, name).why == "there was no steady window"


def test_what_was_asked_for() -> None:
    measures = [*load_measures([*ANSWERED, BROKEN], lasted_s=10)]

    assert named(measures, "requests").value == 3
    assert named(measures, "offered_requests_per_s").value == pytest.approx(2 / 2)
    assert named(measures, "concurrency_mean").value == pytest.approx((1.51 + 2.51 + 0.51) / 10)
    assert named(measures, "output_tokens_mean").value == pytest.approx(4)
    assert named(measures, "prompt_tokens_mean").value == pytest.approx(1030 / 3)


def test_tokens_that_had_no_event_are_told() -> None:
    counted = exchange((1.0, 1), (2.0, 2), usage=4)

    assert named([*load_measures([counted], lasted_s=3)], "tokens_seen_share").value == pytest.approx(0.75)
    uncounted = named([*load_measures(ANSWERED, lasted_s=3)], "tokens_seen_share")
    assert (uncounted.value, uncounted.why) == (None, "no server counted its tokens")


def test_a_closed_loop_offers_no_rate() -> None:
    closed = [one.model_copy(update={"due_s": None}) for one in ANSWERED]

    assert named([*load_measures(closed, lasted_s=3)], "offered_requests_per_s").value is None
