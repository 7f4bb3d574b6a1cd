from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdtest.load.lengths import long_tail


def tail(count: int, seed: int = 1, **changes: float) -> tuple[int, ...]:
    limits = {"shortest": 8, "longest": 100_000} | {
        name: int(value) for name, value in changes.items() if name != "sigma"
    }
    return long_tail(count, median=100, sigma=changes.get("sigma", 1.2), seed=seed, **limits)


@settings(deadline=None)
@given(st.integers(1, 500), st.integers(1, 200), st.integers(0, 5000), st.floats(0, 3), st.integers())
def test_lengths_are_within_their_limits(
    count: int, shortest: int, more: int, sigma: float, seed: int
) -> None:
    lengths = tail(count, seed, shortest=shortest, longest=shortest + more, sigma=sigma)
    assert len(lengths) == count
    assert all(shortest <= length <= shortest + more for length in lengths)


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(), st.integers())
def test_a_seed_decides_the_order_and_nothing_else(count: int, one: int, other: int) -> None:
    assert tail(count, one) == tail(count, one)
    assert sorted(tail(count, one)) == sorted(tail(count, other))


def test_most_are_short_and_one_in_a_hundred_is_very_long() -> None:
    lengths = sorted(tail(100))
    assert lengths[49] < 100 < lengths[50]
    assert lengths[-1] > 16 * 100
    assert sum(lengths) / 100 > 1.8 * 100, "the mean of a long tail is well above its median"


def test_a_hundred_have_the_tail_of_ten_thousand() -> None:
    few, many = sorted(tail(100)), sorted(tail(10_000))
    assert few[94] == pytest.approx(many[9450], rel=0.02)


def test_without_a_tail_all_are_alike() -> None:
    assert set(tail(50, sigma=0)) == {100}


def test_limits_that_leave_no_length_are_refused() -> None:
    with pytest.raises(ValueError, match="from 9 to 8: that is none"):
        tail(3, shortest=9, longest=8)
