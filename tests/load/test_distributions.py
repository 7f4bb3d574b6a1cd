from __future__ import annotations

import itertools
import statistics
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from pdtest.environment.distributions import Distribution
from pdtest.load.lengths import lengths_of

DISTRIBUTION: TypeAdapter[Distribution] = TypeAdapter(Distribution)


def lengths(count: int = 1000, seed: int | str = 1, **shape: object) -> tuple[int, ...]:
    return lengths_of(DISTRIBUTION.validate_python(shape), count, seed=seed)


def test_fixed() -> None:
    assert lengths(3, shape="fixed", tokens=7) == (7, 7, 7)


def test_uniform_has_every_length_as_often() -> None:
    drawn = Counter(lengths(100, shape="uniform", shortest=5, longest=14))
    assert drawn == dict.fromkeys(range(5, 15), 10)


def test_lognormal_has_its_median() -> None:
    drawn = lengths(shape="lognormal", median=100, sigma=1.2, longest=5000)
    assert 98 <= statistics.median(drawn) <= 102
    assert max(drawn) > 2000


def test_pareto_has_the_same_share_above_every_double() -> None:
    drawn = lengths(10_000, shape="pareto", alpha=1.0, shortest=100, longest=10_000_000)
    above = [sum(length > limit for length in drawn) for limit in (200, 400, 800, 1600)]
    for more, fewer in itertools.pairwise(above):
        assert 0.48 < fewer / more < 0.52, "2 ** -alpha"


def test_bimodal_has_two_kinds() -> None:
    drawn = lengths(shape="bimodal", short=100, long=4000, long_share=0.1, spread=0.2)
    short, long = [length for length in drawn if length < 1000], [length for length in drawn if length > 1000]
    assert len(long) == 100
    assert 80 <= min(short) < max(short) <= 120
    assert 3200 <= min(long) < max(long) <= 4800


def test_empirical_is_what_was_seen() -> None:
    assert Counter(lengths(400, shape="empirical", tokens=[5, 9, 9, 2])) == {2: 100, 5: 100, 9: 200}


@settings(deadline=None)
@given(st.integers(1, 300), st.integers())
def test_a_seed_decides_the_order_alone(count: int, seed: int) -> None:
    shape = {"shape": "pareto", "alpha": 1.5, "shortest": 8, "longest": 900}
    drawn = lengths(count, seed, **shape)
    assert drawn == lengths(count, seed, **shape)
    assert sorted(drawn) == sorted(lengths(count, "another", **shape))
    assert all(8 <= length <= 900 for length in drawn)
