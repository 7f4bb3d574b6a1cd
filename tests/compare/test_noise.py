"""Proof by simulation: what noise does to verdicts, and what it cannot hide."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pdtest.compare import Comparison, Verdict, compare
from pdtest.compare.effect import shift
from pdtest.compare.holm import holm
from pdtest.compare.ranks import chances
from pdtest.environment.compare import HEADLINE, Compare
from tests.compare.made import runs

NOISE = 0.08
ROUNDS = 1500


def simulated(random: np.random.Generator, count: int, *, shared: float) -> NDArray[np.float64]:
    """By comparison, measure and run. ``shared``: how much of the noise all measures of a run have."""
    together = random.normal(size=(ROUNDS, 1, count))
    alone = random.normal(size=(ROUNDS, len(HEADLINE), count))
    return np.asarray(np.exp(NOISE * (np.sqrt(shared) * together + np.sqrt(1 - shared) * alone)))


def alarms(old: NDArray[np.float64], new: NDArray[np.float64]) -> NDArray[np.bool_]:
    """FAIL by comparison and measure: the same three conditions as the verdict's, many at once."""
    beyond = shift(old, new) > 0.1 * np.median(old, axis=-1)
    return (holm(chances(old, new).higher) <= Compare().alpha) & beyond


@pytest.mark.parametrize("shared", [0.0, 0.7])
@pytest.mark.parametrize("count", [5, 9])
def test_equal_builds_raise_an_alarm_in_at_most_five_of_a_hundred_comparisons(
    count: int, shared: float
) -> None:
    random = np.random.default_rng(17)
    old, new = (simulated(random, count, shared=shared) for _ in range(2))
    assert alarms(old, new).any(axis=1).mean() <= 0.05


@pytest.mark.parametrize("shared", [0.0, 0.7])
def test_a_real_rise_of_a_fifth_is_found_in_nine_of_ten_with_nine_runs(shared: float) -> None:
    random = np.random.default_rng(19)
    old, new = (simulated(random, 9, shared=shared) for _ in range(2))
    new[:, 0] *= 1.2
    assert alarms(old, new)[:, 0].mean() >= 0.9


def test_without_the_correction_the_alarms_would_be_too_many() -> None:
    """So that the first test can fail: what it counts is there to be counted."""
    random = np.random.default_rng(17)
    old, new = (simulated(random, 5, shared=0.0) for _ in range(2))
    raw = (chances(old, new).higher <= Compare().alpha).any(axis=1)
    assert raw.mean() > 0.3


def whole(random: np.random.Generator, *, count: int, slower: float) -> Comparison:
    """A comparison as users get it, of latencies, of which the first got slower."""
    names = [f"m{number}" for number in range(len(HEADLINE))]
    old, new = (
        {name: [float(value) for value in 0.1 * np.exp(random.normal(0, NOISE, count))] for name in names}
        for _ in range(2)
    )
    new["m0"] = [slower * value for value in new["m0"]]
    return compare(runs(old), runs(new), Compare(judged=("m*",)))


def test_whole_comparisons_do_as_the_simulated_ones() -> None:
    random = np.random.default_rng(23)
    equal = [whole(random, count=5, slower=1.0) for _ in range(25)]
    slower = [whole(random, count=9, slower=1.2) for _ in range(12)]
    assert sum(one.verdict is Verdict.FAIL for one in equal) <= 3
    found = [next(change.verdict for change in one.changes if change.measure == "m0") for one in slower]
    assert found.count(Verdict.FAIL) >= 9
    assert Verdict.PASS not in found
