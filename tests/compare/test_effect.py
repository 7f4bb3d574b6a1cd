from __future__ import annotations

import numpy as np
import pytest

from pdtest.compare.effect import interval, shift


def test_the_shift_is_the_median_of_all_differences() -> None:
    # Differences: 10, 9, 20, 19, 30, 29.
    assert shift(np.array([0.0, 1.0]), np.array([10.0, 20.0, 30.0])) == pytest.approx(19.5)


def test_one_run_gone_astray_does_not_move_it_far() -> None:
    old = np.array([1.0, 1.01, 0.99, 1.02, 0.98])
    assert shift(old, np.array([1.0, 1.01, 0.99, 1.02, 30.0])) == pytest.approx(0.02, abs=0.011)


def test_the_interval_is_around_the_shift_and_the_same_each_time() -> None:
    old, new = np.array([1.0, 1.1, 0.9, 1.05, 0.95]), np.array([1.2, 1.3, 1.15, 1.25, 1.1])
    low, high = interval(old, new)
    assert low < shift(old, new) < high
    assert interval(old, new) == (low, high)


def test_one_value_a_side_has_an_interval_of_no_width() -> None:
    assert interval(np.array([1.0]), np.array([3.0])) == (2.0, 2.0)


def test_the_interval_holds_the_truth_in_ninety_of_a_hundred() -> None:
    random = np.random.default_rng(11)
    rounds = 200
    held = 0
    for _ in range(rounds):
        old, new = random.normal(1.0, 0.08, 5), random.normal(1.2, 0.08, 5)
        low, high = interval(old, new)
        held += low <= 0.2 <= high
    # 0.90 +- three standard deviations of 200 rounds.
    assert 0.83 <= held / rounds <= 0.97
