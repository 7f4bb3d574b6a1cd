"""Numbers as people read them."""

from __future__ import annotations

import math

import pytest

from pdtest.results.amount import Scale, amount, counted, entry, signed


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
        (-0.0123, "s", "-12.3 ms"),
        (0.985, "1", "98.5 %"),
        (0.99996, "1", "100 %"),
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


def test_entries_of_a_table_have_the_unit_where_it_varies() -> None:
    assert [entry(value, unit) for value, unit in ((0.012, "s"), (12345.6, "tokens/s"), (None, "W"))] == [
        "12 ms",
        "12 346",
        "–",  # noqa: RUF001
    ]


def test_changes_have_a_sign_and_no_negative_zero() -> None:
    assert [signed(share) for share in (0.123, -0.03, -0.0, -0.0001)] == [
        "+12 %",
        "-3.0 %",
        "+0.0 %",
        "+0.0 %",
    ]
