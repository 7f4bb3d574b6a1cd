"""Loads with more and more at once."""

from __future__ import annotations

import pytest

from pdtest.environment.arrivals import Closed, Poisson
from pdtest.environment.distributions import Fixed, Uniform
from pdtest.environment.performance import Performance, Rates, Slo
from pdtest.environment.workload import Workload
from pdtest.load.layout import lay_out
from pdtest.oracle.sweep import (
    batch_of,
    even,
    rate_of,
    scaling_efficiency,
    sizes,
    slack_of,
    sweep_rates,
    users_of,
)
from pdtest.results import Exchange, Piece, Result

from .loads import result_of

WORK = Workload(
    arrivals=Poisson(pattern="poisson", rate=3),
    prompt=Uniform(shape="uniform", shortest=10, longest=30),
    duration_s=7,
    seed=4,
)


def test_a_batch_is_all_at_once_and_nothing_after() -> None:
    plan = lay_out(batch_of(WORK, 5), vocab_size=100, max_model_len=1000)

    assert (plan.concurrency, len(plan.asks)) == (5, 5)


def test_users_ask_again() -> None:
    work = users_of(WORK, 3, 4)

    assert work.arrivals == Closed(pattern="closed", concurrency=3)
    assert (work.requests, work.duration_s) == (12, None)


def test_a_rate_keeps_everything_else() -> None:
    work = rate_of(WORK, 50, 2)

    assert work.arrivals == Poisson(pattern="poisson", rate=50)
    assert work.requests == 100
    assert (work.prompt, work.seed) == (WORK.prompt, WORK.seed)


def test_a_slow_rate_has_enough_requests_to_tell() -> None:
    assert rate_of(WORK, 1, 2).requests == 20


def test_even_lengths_are_the_mean() -> None:
    assert even(WORK).prompt == Fixed(shape="fixed", tokens=20)
    assert even(WORK).arrivals == WORK.arrivals


@pytest.mark.parametrize(
    ("deployment", "parts"),
    [
        ((8, 24), [(1, 3), (2, 6), (4, 12), (8, 24)]),
        ((2, 2), [(1, 1), (2, 2)]),
        ((3, 6), [(1, 2), (2, 4), (3, 6)]),
        ((1, 4), [(1, 4)]),
        ((2, 3), [(2, 3)]),
    ],
)
def test_parts_keep_the_ratio(deployment: tuple[int, int], parts: list[tuple[int, int]]) -> None:
    assert [*sizes(*deployment)] == parts


def test_efficiency_is_per_engine() -> None:
    few, many = result_of(output_tokens_per_s=100), result_of(output_tokens_per_s=300)

    assert scaling_efficiency([(2, few), (8, many)]) == pytest.approx(0.75)


def test_efficiency_of_a_bound_client_is_nobodys() -> None:
    few, many = result_of(output_tokens_per_s=100), result_of(output_tokens_per_s=300, valid=False)

    assert scaling_efficiency([(2, few), (8, many)]) is None
    assert scaling_efficiency([(2, result_of(output_tokens_per_s=0)), (8, few)]) is None


def answered(ttft_s: float, tpot_s: float) -> Exchange:
    return Exchange(
        number=0,
        request_id="r",
        due_s=0,
        sent_s=0,
        first_byte_s=ttft_s,
        pieces=(Piece(at_s=ttft_s, tokens=1, read=0), Piece(at_s=ttft_s + tpot_s, tokens=1, read=1)),
        ended_s=1,
        prompt_tokens=1,
        max_tokens=2,
        completion_tokens=2,
        finish_reason="length",
        status=200,
        error=None,
    )


class Service:
    """Quick up to its capacity, and slow beyond."""

    def __init__(self, capacity: float) -> None:
        self.capacity = capacity
        self.asked: list[float] = []

    def measure(self, name: str, workload: Workload) -> Result:
        assert isinstance(workload.arrivals, Poisson)
        self.asked.append(workload.arrivals.rate)
        slow = workload.arrivals.rate > self.capacity
        return result_of(label=name, ttft_p50=5.0 if slow else 0.1, tpot_p50=0.02)

    def exchanges(self, _: Result) -> list[Exchange]:
        slow = self.asked[-1] > self.capacity
        return [answered(5.0 if slow else 0.1, 0.02)] * 10


@pytest.mark.parametrize("slo", [Slo(ttft_s=1.0), Slo()])
def test_a_sweep_finds_the_knee_with_an_slo_and_without(slo: Slo) -> None:
    service = Service(11)
    settings = Performance(slo=slo, rates=Rates(lowest=2, highest=64, refine=3))

    found = sweep_rates(settings, WORK, service.measure, service.exchanges)

    assert service.asked[:4] == [2, 4, 8, 16]
    assert found.knee.rate is not None
    assert found.knee.broke is not None
    assert found.knee.rate <= 11 < found.knee.broke
    assert [rate for rate, *_ in found.steps] == sorted(service.asked)
    assert found.slo.ttft_s == pytest.approx(slo.ttft_s or 0.4)


def test_without_an_slo_the_first_step_says_what_is_good() -> None:
    slo = slack_of(result_of(ttft_p50=0.1, tpot_p50=None, tpot_mean=0.02), 3)

    assert slo.ttft_s == pytest.approx(0.3)
    assert slo.tpot_s == pytest.approx(0.06)
