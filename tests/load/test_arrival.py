from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdtest.load.arrival import at_random, evenly

COUNTS = st.integers(1, 300)
SPANS = st.floats(0.01, 1e4)


def test_evenly_is_a_steady_pace_that_ends_a_step_early() -> None:
    assert evenly(4, 2.0) == (0.0, 0.5, 1.0, 1.5)


@settings(deadline=None)
@given(COUNTS, SPANS, st.integers())
def test_random_arrivals_come_in_order_at_the_rate_of_even_ones(count: int, over_s: float, seed: int) -> None:
    arrivals, even = at_random(count, over_s, seed=seed), evenly(count, over_s)
    assert len(arrivals) == count
    assert list(arrivals) == sorted(arrivals)
    assert arrivals[0] == even[0]
    assert arrivals[-1] == pytest.approx(even[-1])


@settings(deadline=None)
@given(COUNTS, st.integers())
def test_a_seed_gives_the_same_arrivals(count: int, seed: int) -> None:
    assert at_random(count, 10.0, seed=seed) == at_random(count, 10.0, seed=seed)


def test_gaps_are_those_of_independent_users_and_differ_by_seed() -> None:
    arrivals = at_random(2000, 2000.0, seed=3)
    gaps = [later - earlier for earlier, later in itertools.pairwise(arrivals)]
    shorter_than_the_mean = sum(gap < 1 for gap in gaps) / len(gaps)
    assert shorter_than_the_mean == pytest.approx(0.632, abs=0.05), "exponential gaps: 1 - 1/e"
    assert at_random(2000, 2000.0, seed=4) != arrivals
