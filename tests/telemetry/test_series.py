from __future__ import annotations

from collections.abc import Sequence

import pytest

from pdtest.telemetry.series import Look, Series
from pdtest.telemetry.source import RankReading


def reading(rank: str, tokens: float) -> RankReading:
    return RankReading(rank=rank, usage=None, tokens=tokens)


def series(*looks: tuple[float, float, Sequence[RankReading]]) -> Series:
    return Series(
        source="s",
        looks=[
            Look(due_s=asked - 0.01, asked_s=asked, seen_s=seen, readings=readings)
            for asked, seen, readings in looks
        ],
    )


A0, B0, A1 = reading("0", 10), reading("1", 20), reading("0", 30)


def test_a_rank_is_as_it_last_said() -> None:
    both = series((0.0, 0.1, [A0]), (1.0, 1.1, [B0]), (2.0, 2.1, [A1]))
    assert both.states(0, 5) == [
        (0.0, {"0": A0}),
        (1.0, {"0": A0, "1": B0}),
        (2.0, {"0": A1, "1": B0}),
    ]
    assert both.at(1.5) == {"0": A0, "1": B0}
    assert both.at(0.05) == {}
    assert both.ranks == ("0", "1")


def test_a_span_knows_what_was_said_before_it() -> None:
    assert series((0.0, 0.1, [A0]), (1.0, 1.1, [B0])).states(1, 5) == [(1.0, {"0": A0, "1": B0})]


def test_ranks_are_in_the_order_of_their_numbers() -> None:
    assert series((0, 0, [reading(rank, 1) for rank in ("10", "9", "0")])).ranks == ("0", "9", "10")


@pytest.mark.parametrize(
    ("asked_and_seen", "span", "age"),
    [
        ([(0.0, 0.1), (0.5, 0.6), (1.0, 1.1)], (0.0, 1.2), 0.6),  # from being asked to the next arrival
        ([(0.0, 0.1), (0.5, 1.9)], (0.0, 2.0), 1.9),  # a slow answer
        ([(0.0, 0.1)], (0.0, 3.0), 3.0),  # nothing came any more
        ([], (1.0, 5.0), 4.0),  # nothing ever came
        ([(2.0, 2.1), (2.5, 2.6)], (0.0, 2.6), 2.1),  # nothing at first
        ([(0.0, 0.1), (9.0, 9.1), (9.5, 9.6)], (9.2, 9.7), 0.4),  # what was before the span does not count
    ],
)
def test_the_newest_are_oldest_just_before_others_come(
    asked_and_seen: list[tuple[float, float]], span: tuple[float, float], age: float
) -> None:
    one = series(*[(asked, seen, [A0]) for asked, seen in asked_and_seen])
    assert one.oldest_s(*span) == pytest.approx(age)


def test_who_looks_late_is_told() -> None:
    assert series((1.0, 1.1, [A0])).late_s == pytest.approx(0.01)
    assert series().late_s == 0.0
