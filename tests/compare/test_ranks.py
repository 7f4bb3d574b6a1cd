"""The exact rank test, held against scipy's."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pdtest.compare.ranks import chances, smallest_chance

#: Few different values, so that ties abound.
TIED = st.lists(st.integers(0, 4).map(float), min_size=1, max_size=5)
FLOATS = st.floats(-1e6, 1e6, allow_nan=False)


@settings(deadline=None, max_examples=60)
@given(st.lists(FLOATS, min_size=2, max_size=14, unique=True), st.data())
def test_without_ties_it_is_scipys_exact_test(values: list[float], data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(values) - 1))
    old, new = np.array(values[:cut]), np.array(values[cut:])
    seen = chances(old, new)
    for alternative, chance in (("greater", seen.higher), ("less", seen.lower)):
        expected = stats.mannwhitneyu(new, old, alternative=alternative, method="exact").pvalue
        assert chance == pytest.approx(expected)


@settings(deadline=None, max_examples=60)
@given(TIED, TIED)
def test_with_ties_it_counts_all_ways_of_sharing_out_the_values(old: list[float], new: list[float]) -> None:
    ranks = stats.rankdata([*old, *new])
    ways = [sum(way) for way in combinations(ranks, len(new))]
    here = sum(ranks[len(old) :])
    seen = chances(np.array(old), np.array(new))
    assert seen.higher == pytest.approx(sum(way >= here for way in ways) / len(ways))
    assert seen.lower == pytest.approx(sum(way <= here for way in ways) / len(ways))


def test_many_cases_at_once_are_each_as_alone() -> None:
    random = np.random.default_rng(3)
    old, new = random.integers(0, 9, (4, 3, 5)).astype(float), random.integers(0, 9, (4, 3, 6)).astype(float)
    seen = chances(old, new)
    assert seen.higher.shape == (4, 3)
    for index in np.ndindex(4, 3):
        assert seen.higher[index] == chances(old[index], new[index]).higher
        assert seen.lower[index] == chances(old[index], new[index]).lower


def test_all_above_all_is_the_smallest_chance() -> None:
    old, new = np.arange(5.0), np.arange(5.0) + 10
    assert chances(old, new).higher == pytest.approx(1 / 252)
    assert chances(old, new).lower == 1
    assert smallest_chance(5, 5) == 1 / comb(10, 5)


def test_equal_values_say_nothing() -> None:
    seen = chances(np.ones(5), np.ones(5))
    assert float(seen.higher) == float(seen.lower) == 1
