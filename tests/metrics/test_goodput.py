"""Who was served well."""

from __future__ import annotations

import pytest

from pdtest.environment.performance import Slo
from pdtest.metrics.goodput import goodput_measures, is_good

from .streams import exchange, named

#: TTFT 1 s, 0.5 s per token, 2 s in all.
ONE = exchange((1.0, 1), (1.5, 1), (2.0, 1))
BROKEN = exchange((0.1, 1), error="it broke off")


@pytest.mark.parametrize(
    ("slo", "good"),
    [
        (Slo(ttft_s=1.0), True),
        (Slo(ttft_s=0.99), False),
        (Slo(tpot_s=0.5), True),
        (Slo(tpot_s=0.49), False),
        (Slo(e2e_s=2.0), True),
        (Slo(e2e_s=1.99), False),
        (Slo(ttft_s=1.0, tpot_s=0.5, e2e_s=2.0), True),
        (Slo(ttft_s=1.0, tpot_s=0.1, e2e_s=2.0), False),
    ],
)
def test_a_good_request_keeps_to_all_limits(slo: Slo, good: bool) -> None:
    assert is_good(ONE, slo) is good


def test_a_late_client_makes_a_request_no_better() -> None:
    late = exchange((1.0, 1), (2.0, 1), due_s=-5.0, sent_s=0.9)

    assert not is_good(late, Slo(ttft_s=1.0))


def test_what_failed_is_never_good_and_always_counted() -> None:
    measures = [*goodput_measures([ONE, ONE, ONE, BROKEN], Slo(ttft_s=2.0), lasted_s=10)]

    assert named(measures, "success_rate").value == pytest.approx(0.75)
    assert named(measures, "goodput_share").value == pytest.approx(0.75)
    assert named(measures, "goodput").value == pytest.approx(0.3)


def test_an_answer_without_a_token_is_late_for_ever() -> None:
    assert not is_good(exchange(), Slo(ttft_s=100))
    assert not is_good(exchange(), Slo(e2e_s=100))
    assert is_good(exchange((1.0, 1)), Slo(tpot_s=0.001))


def test_without_an_slo_there_is_no_goodput() -> None:
    measures = [*goodput_measures([ONE, BROKEN], Slo(), lasted_s=10)]

    assert named(measures, "success_rate").value == pytest.approx(0.5)
    assert named(measures, "goodput").value is None
    assert named(measures, "goodput_share").why == "the environment has no performance.slo"


def test_of_no_request_nothing_is_told() -> None:
    assert named([*goodput_measures([], Slo(ttft_s=1), lasted_s=0)], "success_rate").value is None
