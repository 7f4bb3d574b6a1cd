"""Percentiles that are told, and those that are not."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdtest.metrics.samples import BEYOND, PERCENTILES, Samples, distribution
from pdtest.results import Better

VALUES = st.lists(st.floats(0, 1e3), min_size=1, max_size=300)


@pytest.mark.parametrize(("percent", "enough"), [(50, 20), (90, 100), (95, 200), (99, 1000)])
def test_a_percentile_needs_ten_beyond_it(percent: int, enough: int) -> None:
    assert Samples.of(range(enough - 1)).percentile(percent) is None
    assert Samples.of(range(enough)).percentile(percent) == enough * percent // 100 - 1


@given(VALUES, st.sampled_from(PERCENTILES))
def test_percentiles_are_nearest_ranks(values: list[float], percent: int) -> None:
    ranked, told = sorted(values), Samples.of(values).percentile(percent)
    rank = math.ceil(len(values) * percent / 100)

    assert told == (ranked[rank - 1] if len(values) - rank >= BEYOND else None)


@given(st.lists(st.tuples(st.floats(0, 1e3), st.integers(1, 5)), min_size=1, max_size=100))
def test_a_weight_is_so_many_equal_values(weighted: list[tuple[float, int]]) -> None:
    spread = [value for value, weight in weighted for _ in range(weight)]
    samples, flat = Samples(weighted), Samples.of(spread)

    assert samples.weight == flat.weight == len(spread)
    assert samples.mean == pytest.approx(flat.mean)
    for percent in PERCENTILES:
        told = samples.percentile(percent)
        # What few observations make heavy is not told; what is told is the same.
        assert told is None or told == flat.percentile(percent)


def test_heavy_observations_are_no_more_of_them() -> None:
    assert Samples((number, 1) for number in range(40)).percentile(50) is not None
    assert Samples((number, 100) for number in range(15)).percentile(50) is None


def test_a_distribution_has_always_the_same_names() -> None:
    names = ["x_mean", "x_p50", "x_p90", "x_p95", "x_p99", "x_max"]

    for samples in (Samples.of([]), Samples.of([1.0]), Samples.of(map(float, range(2000)))):
        assert [one.name for one in distribution("x", "s", samples, absent="none")] == names


def test_what_is_not_told_says_why() -> None:
    empty = [*distribution("x", "s", Samples.of([]), absent="nobody came")]
    few = {one.name: one for one in distribution("x", "s", Samples.of([1.0, 3.0]), absent="nobody came")}

    assert [(one.value, one.why, one.samples) for one in empty] == [(None, "nobody came", 0)] * 6
    assert few["x_p90"].why == "fewer than 10 of 2 observations lie beyond it"
    assert few["x_mean"].value == 2.0
    assert few["x_mean"].why is None
    assert few["x_max"].value == 3.0
    assert few["x_max"].better is Better.NEITHER
