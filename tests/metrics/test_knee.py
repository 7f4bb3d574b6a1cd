"""A sweep of rates."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdtest.environment.performance import Rates
from pdtest.metrics.knee import Knee, Step, knee, next_rate

RATES = Rates(lowest=1, highest=64, factor=2, refine=3)


def sweep(rates: Rates, capacity: float, client: float = float("inf")) -> list[Step]:
    """What a service that holds up to ``capacity`` comes to, asked by a client good for ``client``."""
    steps: list[Step] = []
    while (rate := next_rate(steps, rates)) is not None:
        steps.append(Step(rate=rate, holds=None if rate > client else rate <= capacity))
    return steps


@given(st.floats(1.0, 63.9))
def test_the_knee_is_found_wherever_it_is(capacity: float) -> None:
    found = knee(sweep(RATES, capacity))

    assert found.found
    assert found.rate is not None
    assert found.broke is not None
    assert found.rate <= capacity < found.broke
    # Three halvings of a doubling.
    assert found.broke / found.rate <= 2 ** (1 / 8) + 1e-9


def test_a_service_that_holds_at_all_rates_has_its_knee_beyond() -> None:
    steps = sweep(RATES, 1000)

    assert [step.rate for step in steps] == [1, 2, 4, 8, 16, 32, 64]
    assert knee(steps) == Knee(rate=64, broke=None)
    assert not knee(steps).found


def test_one_that_does_not_hold_at_all_is_not_asked_twice() -> None:
    steps = sweep(RATES, 0.5)

    assert len(steps) == 1
    assert knee(steps) == Knee(rate=None, broke=1)


def test_the_highest_is_tried_exactly() -> None:
    assert [step.rate for step in sweep(Rates(lowest=3, highest=10, refine=0), 1000)] == [3, 6, 10]


def test_a_client_at_its_limit_ends_the_sweep() -> None:
    steps = sweep(RATES, 1000, client=10)

    assert [step.rate for step in steps] == [1, 2, 4, 8, 16]
    assert knee(steps) == Knee(rate=8, broke=None)


def test_what_holds_above_a_failure_is_luck() -> None:
    steps = [Step(rate=1, holds=True), Step(rate=2, holds=False), Step(rate=4, holds=True)]

    assert knee(steps) == Knee(rate=1, broke=2)


@pytest.mark.parametrize("refine", [0, 1, 2])
def test_it_is_refined_as_often_as_asked(refine: int) -> None:
    steps = sweep(Rates(lowest=1, highest=64, refine=refine), 5)

    assert len(steps) == 4 + refine
