from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

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
