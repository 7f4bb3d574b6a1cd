from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdtest.report.page.amount import Scale, amount, counted
from pdtest.report.page.axis import Axis

values = st.lists(st.floats(-1e7, 1e7).filter(lambda value: value == 0 or abs(value) > 1e-6), min_size=1)


@given(values, st.booleans())
def test_all_values_lie_on_the_axis(known: list[float], zero: bool) -> None:
    axis = Axis.over(known, "s", zero=zero)
    assert all(axis.low <= value <= axis.high for value in known)
    shares = [axis.share(value) for value in sorted(known)]
    assert shares == sorted(shares)
    assert 1 <= len(axis.ticks()) <= 12


@given(st.lists(st.floats(1e-6, 1e6), min_size=1))
def test_magnitudes_have_ticks_within(known: list[float]) -> None:
    axis = Axis.of_magnitudes(known, "s")
    ticks = axis.ticks()
    assert ticks
    assert all(0 <= tick.share <= 1 for tick in ticks)
    assert len({tick.text for tick in ticks}) == len(ticks)


def test_ticks_are_round() -> None:
    assert [tick.text for tick in Axis.over([0, 412], "W").ticks()] == ["0 W", "200 W", "400 W"]
    assert [tick.text for tick in Axis(low=0, high=1, unit="1").ticks()] == [
        "0 %",
        "25 %",
        "50 %",
        "75 %",
        "100 %",
    ]
    assert [tick.text for tick in Axis.of_magnitudes([0.011, 0.4], "s").ticks()] == [
        "10 ms", "20 ms", "50 ms", "100 ms", "200 ms",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "s", "–"),  # noqa: RUF001
        (0.0123, "s", "12.3 ms"),
        (0.0000123, "s", "12.3 µs"),
        (0, "s", "0 s"),
        (128.4, "s", "128 s"),
        (200, "s", "3 min 20 s"),
        (7500, "s", "2 h 05 min"),
        (0.985, "1", "98.5 %"),
        (1234.4, "tokens/s", "1 234 tokens/s"),
        (3 * 2**20, "bytes", "3 MiB"),
        (0.4268, "J/token", "0.427 J/token"),
        (math.inf, "W", "inf W"),
    ],
)
def test_amounts_as_people_read_them(value: float | None, unit: str, text: str) -> None:
    assert amount(value, unit) == text


def test_values_beside_each_other_share_a_unit() -> None:
    scale = Scale.of([0.121, 0.0746, None], "s")
    assert (scale.unit, scale(0.121), scale(0.0746), scale(None)) == ("ms", "121", "74.6", "–")  # noqa: RUF001
    assert Scale.of([2 * 2**30, 2**20], "bytes")(2**30) == "1"
    assert Scale.of([3 * 2**20], "bytes/s").unit == "MiB/s"


def test_one_is_not_many() -> None:
    assert [counted(1, "run"), counted(2, "run"), counted(2, "process")] == ["1 run", "2 runs", "2 processes"]
