from __future__ import annotations

import math
import random

import pytest

from pdtest.oracle.routing.chance import ALPHA, at_least, at_most, enough, uneven


def test_the_tails_are_binomial() -> None:
    assert math.isclose(at_least(2, 3, 0.5), 0.5)
    assert math.isclose(at_most(1, 3, 0.5), 0.5)
    assert math.isclose(at_least(4, 6, 1 / 3) + at_most(3, 6, 1 / 3), 1.0)


@pytest.mark.parametrize("many", [2, 3, 5, 8])
def test_so_many_tell_for_certain_that_one_gets_all(many: int) -> None:
    tries = enough(many)
    assert tries % many == 0
    assert uneven([tries, *[0] * (many - 1)]) < ALPHA
    assert uneven([tries // many] * many) > 0.1


@pytest.mark.parametrize("many", [2, 3, 5])
def test_fair_deals_are_hardly_ever_uneven(many: int) -> None:
    """Of 4,000 fair deals none is one in a million, and as few as one in a hundred seem one in a hundred."""
    dice = random.Random("fair")  # noqa: S311 - reproducible on purpose
    deals = [dice.choices(range(many), k=enough(many)) for _ in range(4000)]
    chances = [uneven([deal.count(one) for one in range(many)]) for deal in deals]
    assert min(chances) > ALPHA
    assert sum(chance < 0.01 for chance in chances) <= 0.01 * len(deals)


def test_one_that_gets_nothing_is_as_bad_as_one_that_gets_all() -> None:
    assert uneven([60, 60, 0]) < ALPHA
    assert uneven([45, 40, 35]) > 0.01
