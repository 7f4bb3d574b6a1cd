from __future__ import annotations

import pytest

from pdtest.compare.words import counted, quantity, signed


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0123, "s", "12.3 ms"),
        (2.5, "s", "2.5 s"),
        (0.00002, "s", "20 us"),
        (0.0, "s", "0 us"),
        (1.0, "1", "100.0 %"),
        (0.985, "1", "98.5 %"),
        (0.9999, "1", "100.0 %"),
        (3 * 2**20, "bytes", "3 MiB"),
        (12345.6, "tokens/s", "12346 tokens/s"),
        (0.2134, "J/token", "0.213 J/token"),
    ],
)
def test_quantities_have_three_digits_and_a_unit(value: float, unit: str, text: str) -> None:
    assert quantity(value, unit) == text


def test_changes_have_a_sign_and_no_negative_zero() -> None:
    assert [signed(share) for share in (0.123, -0.03, -0.0, -0.0001)] == [
        "+12 %",
        "-3.0 %",
        "+0.0 %",
        "+0.0 %",
    ]


def test_nouns_are_counted() -> None:
    assert [counted(count, "run") for count in (0, 1, 5)] == ["0 runs", "1 run", "5 runs"]
