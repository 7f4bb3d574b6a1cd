from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdtest.report.account.curve import in_flight, per_second, shares, thinned

finite = st.floats(-1e3, 1e3).map(lambda value: round(value, 2))
spans = st.lists(st.tuples(st.floats(0, 9).map(lambda at: round(at, 3)), st.floats(0.001, 5)), min_size=1)


@given(st.lists(finite, min_size=1, max_size=2000))
def test_a_thinned_curve_keeps_its_peaks(values: list[float]) -> None:
    points = thinned(enumerate(values))
    assert len(points) <= 240
    assert min(value for _, value in points) == min(values)
    assert max(value for _, value in points) == max(values)
    assert [at for at, _ in points] == sorted(at for at, _ in points)


@given(spans)
def test_what_began_ends(given: list[tuple[float, float]]) -> None:
    curve = in_flight((begin, begin + length) for begin, length in given)
    assert curve[-1][1] == 0
    assert max(height for _, height in curve) <= len(given)
    assert all(height >= 0 for _, height in curve)


def test_two_at_once_are_two() -> None:
    assert in_flight([(0, 2), (1, 3)]) == ((0, 1), (1, 2), (2, 1), (3, 0))


@given(st.lists(st.tuples(st.floats(0, 20), st.integers(1, 9)), min_size=1))
def test_a_rate_counts_everything_once(given: list[tuple[float, int]]) -> None:
    curve = per_second(given, 20.0)
    each = 20.0 / len(curve)
    assert sum(height * each for _, height in curve) == pytest.approx(
        sum(count for _, count in given), rel=1e-4
    )


def test_nothing_lasts_no_time() -> None:
    assert per_second([(0.0, 1)], 0.0) == ()


@given(st.lists(st.floats(0.001, 1e3), min_size=1, max_size=1000))
def test_shares_rise_to_all(values: list[float]) -> None:
    curve = shares(sorted(values))
    assert len(curve) <= 242
    assert curve[-1][1] == 1
    assert [share for _, share in curve] == sorted(share for _, share in curve)
