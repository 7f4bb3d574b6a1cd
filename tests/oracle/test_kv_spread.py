from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdtest.environment.load import ClientThresholds
from pdtest.load.arrival import at_random
from pdtest.load.lengths import long_tail
from pdtest.oracle.kv_spread import (
    KvSpread,
    Stay,
    by_count,
    by_least_kv,
    imbalance,
    kv_spread,
    unevenness,
)
from pdtest.telemetry.series import Look, Series
from pdtest.telemetry.source import RankReading

BLOCK = 16
LIMITS = ClientThresholds()

#: Deals requests out to ranks.
Scheduler = Callable[[Sequence[Stay], int, random.Random], list[int]]


def stays(seed: int, stay_s: float = 2.5) -> list[Stay]:
    """The load of mission system 1, each answer taking as long as the others, more or less."""
    dice = random.Random(seed)  # noqa: S311 - reproducible on purpose
    arrivals = at_random(100, 10.0, seed=seed)
    lengths = long_tail(100, median=98, sigma=1.2, shortest=8, longest=976, seed=seed)
    return [
        Stay(begin_s=at_s, end_s=at_s + stay_s * dice.uniform(0.95, 1.1), prompt=length, answer=40)
        for at_s, length in zip(arrivals, lengths, strict=True)
    ]


def seen(
    requests: Sequence[Stay], dealt: Sequence[int], ranks: int, *, every_s: float = 0.25, told: bool = True
) -> Series:
    """What a source would have said of ranks that got ``requests`` so."""
    series = Series(source="simulated")
    for look in range(int(14 / every_s)):
        at_s = look * every_s
        held, here = [0] * ranks, [0] * ranks
        for stay, rank in zip(requests, dealt, strict=True):
            held[rank] += stay.tokens(at_s, BLOCK)
            here[rank] += stay.tokens(at_s, BLOCK) > 0
        readings = [
            RankReading(
                rank=str(rank),
                usage=held[rank] / 8192,
                tokens=float(held[rank]),
                running=here[rank] if told else None,
                waiting=0 if told else None,
            )
            for rank in range(ranks)
        ]
        series.looks.append(Look(due_s=at_s, asked_s=at_s, seen_s=at_s + 0.01, readings=readings))
    return series


def spread(
    scheduler: Scheduler, seed: int, ranks: int = 4, *, every_s: float = 0.25, told: bool = True
) -> KvSpread:
    requests = stays(seed)
    dealt = scheduler(requests, ranks, random.Random(f"{seed}"))  # noqa: S311 - reproducible on purpose
    series = seen(requests, dealt, ranks, every_s=every_s, told=told)
    found = kv_spread(series, requests, block_size=BLOCK, limits=LIMITS)
    assert found is not None
    return found


def least_kv(requests: Sequence[Stay], ranks: int, _: random.Random) -> list[int]:
    return by_least_kv(requests, ranks)


def round_robin(requests: Sequence[Stay], ranks: int, _: random.Random) -> list[int]:
    return [number % ranks for number in range(len(requests))]


def fewest_requests(requests: Sequence[Stay], ranks: int, dice: random.Random) -> list[int]:
    dealt: list[int] = []
    for stay in requests:
        here = [0] * ranks
        for other, rank in zip(requests, dealt, strict=False):
            here[rank] += other.end_s > stay.begin_s
        dealt.append(dice.choice([rank for rank in range(ranks) if here[rank] == min(here)]))
    return dealt


def dice_only(requests: Sequence[Stay], ranks: int, dice: random.Random) -> list[int]:
    return [dice.randrange(ranks) for _ in requests]


def passes(found: KvSpread) -> bool:
    return found.measured.pass_(found.by_count.imbalance, LIMITS)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("ranks", [2, 4])
def test_a_scheduler_that_looks_at_kv_passes(seed: int, ranks: int) -> None:
    found = spread(least_kv, seed, ranks)
    assert found.tells
    assert passes(found), found


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("scheduler", [round_robin, fewest_requests])
def test_a_scheduler_that_counts_fails_by_far(scheduler: Scheduler, seed: int) -> None:
    found = spread(scheduler, seed)
    assert found.measured.preference is not None
    assert found.measured.preference > 1.5 * LIMITS.kv_preference
    assert not passes(found)


def test_a_scheduler_that_looks_at_nothing_fails_too() -> None:
    """It is not even fair by count, so its preference may be low by chance, but hardly its imbalance too."""
    assert sum(passes(spread(dice_only, seed)) for seed in range(10)) <= 1


def test_coarse_looks_are_enough() -> None:
    assert passes(spread(least_kv, 3, every_s=1.0))
    assert not passes(spread(round_robin, 3, every_s=1.0))


def test_shares_of_the_cache_tell_as_much_as_tokens() -> None:
    requests = stays(1)
    series = seen(requests, by_least_kv(requests, 4), 4)
    for look in series.looks:
        shares = [RankReading(**{**vars(reading), "tokens": None}) for reading in look.readings]
        object.__setattr__(look, "readings", shares)
    found = kv_spread(series, requests, block_size=BLOCK, limits=LIMITS)
    assert found is not None
    assert found.measured.imbalance == pytest.approx(spread(least_kv, 1).measured.imbalance)


def test_a_load_that_cannot_tell_the_two_apart_decides_nothing() -> None:
    alike = [Stay(begin_s=s.begin_s, end_s=s.end_s, prompt=100, answer=1) for s in stays(1)]
    found = kv_spread(seen(alike, by_least_kv(alike, 4), 4), alike, block_size=BLOCK, limits=LIMITS)
    assert found is not None
    assert not found.tells, "prompts of one length: by count is by length"


def test_limits_that_counting_would_keep_too_decide_nothing() -> None:
    requests = stays(1)
    lax = ClientThresholds(kv_preference=20.0, kv_imbalance=2.0)
    found = kv_spread(seen(requests, by_least_kv(requests, 4), 4), requests, block_size=BLOCK, limits=lax)
    assert found is not None
    assert not found.tells


def test_one_at_a_time_decides_nothing() -> None:
    found = spread_of_short_stays(0.05)
    assert found is not None
    assert not found.tells


def spread_of_short_stays(stay_s: float) -> KvSpread | None:
    requests = stays(1, stay_s)
    dealt = by_least_kv(requests, 4)
    return kv_spread(seen(requests, dealt, 4, every_s=0.05), requests, block_size=BLOCK, limits=LIMITS)


def test_requests_that_are_not_told_leave_the_preference_open() -> None:
    found = spread(least_kv, 1, told=False)
    assert found.measured.preference is None
    assert not passes(found)


def test_there_is_nothing_to_spread_over_one_rank_or_without_looks() -> None:
    requests = stays(1)
    one = seen(requests, [0] * 100, 1)
    assert kv_spread(one, requests, block_size=BLOCK, limits=LIMITS) is None
    assert kv_spread(Series(source="s"), requests, block_size=BLOCK, limits=LIMITS) is None
    assert kv_spread(seen(requests, [0] * 100, 4), [], block_size=BLOCK, limits=LIMITS) is None


@settings(deadline=None)
@given(st.lists(st.lists(st.floats(0, 1e6), min_size=3, max_size=3), max_size=20))
def test_unevenness_and_imbalance_are_within_their_bounds(rows: list[list[float]]) -> None:
    assert unevenness(rows) >= 0
    assert 1 - 1e-9 <= imbalance(rows) <= 3 + 1e-9


def test_busy_looks_count_for_more_than_empty_ones() -> None:
    assert imbalance([[1, 0], [100, 100]]) == pytest.approx(101 / 100.5)
    assert unevenness([[0, 0], [4, 0]]) == 1.0
    assert imbalance([]) == 1.0


@settings(deadline=None)
@given(st.integers(1, 50), st.integers(1, 6), st.integers())
def test_by_count_no_rank_is_ever_two_ahead(requests: int, ranks: int, seed: int) -> None:
    dealt = by_count(requests, ranks, random.Random(seed))  # noqa: S311 - reproducible on purpose
    counts = [dealt.count(rank) for rank in range(ranks)]
    assert len(dealt) == requests
    assert max(counts) - min(counts) <= 1


def test_kv_of_a_stay_grows_in_blocks_while_it_lasts() -> None:
    stay = Stay(begin_s=1.0, end_s=3.0, prompt=16, answer=32)
    assert [stay.tokens(at_s, BLOCK) for at_s in (0.9, 1.0, 1.9, 2.1, 3.0)] == [0, 16, 32, 48, 0]


def test_the_ratio_tells_better_than_tokens_alone() -> None:
    """What the module's docstring claims, in fewer draws: standard deviations between the two schedulers."""
    requests = stays(1, 3.0)
    looks = [look * 0.25 for look in range(50)]

    def rows(dealt: Sequence[int], tokens: Callable[[Stay, float], float]) -> list[list[float]]:
        return [
            [
                sum(tokens(stay, at_s) for stay, its in zip(requests, dealt, strict=True) if its == rank)
                for rank in range(4)
            ]
            for at_s in looks
        ]

    def marks(dealt: Sequence[int]) -> tuple[float, float]:
        kv = unevenness(rows(dealt, lambda stay, at_s: stay.tokens(at_s, BLOCK)))
        of_requests = unevenness(rows(dealt, lambda stay, at_s: stay.tokens(at_s, BLOCK) > 0))
        return kv, math.log(kv / of_requests)

    dice = random.Random(5)  # noqa: S311 - reproducible on purpose
    counted = [marks(by_count(100, 4, dice)) for _ in range(20)]
    by_length = marks(by_least_kv(requests, 4))
    distances = [
        (statistics.fmean(values) - mine) / statistics.pstdev(values)
        for values, mine in zip(zip(*counted, strict=True), by_length, strict=True)
    ]
    assert distances[1] > 2 * distances[0]
    assert distances[1] > 8
