"""Do data-parallel ranks share the load by KV length, or only by the number of requests?

Two statistics, both of what the ranks had at each look while the load lasted, so that neither needs to know
which request went where:

*Preference*: unevenness of KV tokens over the ranks, divided by unevenness of requests. Unevenness is the
standard deviation over the ranks, summed over all looks, over the sum of the means: busy moments count for
more, and empty ones for nothing. Who looks at KV keeps the tokens alike, and so gives one rank a long
request and another ten short ones: below 1. Who counts keeps the numbers alike whatever the lengths do: two
to five. Chance decides how even the tokens of a hundred requests come out, with either scheduler, which is
why it is not the tokens alone that are looked at: with 100 log-normal prompts on 4 ranks the unevenness of
tokens tells the two apart by 4 standard deviations, the logarithm of the ratio by 15 (simulated).

*Imbalance*: the fullest rank's tokens over the mean of all, both summed over the looks; 1 is perfect. Few can
be perfect with a long tail, so it is compared with what a round robin by count makes of the very same
requests: their lengths and the times they stayed are as measured, only the ranks are dealt out anew, each
round in random order, and the mean of many deals is taken. This catches who looks at neither.

The same requests are also dealt to the rank with the least KV. Where even that would not pass, or counting
would, the load cannot tell the two apart (too few at once, or too much alike), and nothing is decided.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pdtest.environment.load import ClientThresholds
from pdtest.telemetry.series import Series
from pdtest.telemetry.source import RankReading

#: By rank, at one look.
Row = Sequence[float]

_DEALS = 100
#: Counting may seem to look at KV by chance in so many deals at most.
_CHANCE = 0.05


@dataclass(frozen=True, kw_only=True)
class Stay:
    """A request on decode: from when to when, and tokens of its prompt and of its whole answer."""

    begin_s: float
    end_s: float
    prompt: int
    answer: int

    def tokens(self, at_s: float, block_size: int) -> int:
        """KV at a moment, in whole blocks: the answer grows at a steady pace. 0 when it is not there."""
        if not self.begin_s <= at_s < self.end_s:
            return 0
        answered = self.answer * (at_s - self.begin_s) / (self.end_s - self.begin_s)
        return -(-int(self.prompt + answered) // block_size) * block_size


@dataclass(frozen=True, kw_only=True)
class Marks:
    """The two statistics; ``preference`` is None where requests were not told, or always alike."""

    imbalance: float
    preference: float | None

    def pass_(self, by_count: float, limits: ClientThresholds) -> bool:
        """Whether a spread with these marks is one by KV length; ``by_count``: imbalance of a round robin."""
        if self.preference is None or self.preference >= limits.kv_preference:
            return False
        return self.imbalance - 1 <= limits.kv_imbalance * (by_count - 1)


@dataclass(frozen=True, kw_only=True)
class KvSpread:
    """The marks of the ranks of one engine, and those that others would get for the same requests.

    ``by_count`` are means over many deals, ``by_length`` those of always taking the rank with the least KV.
    ``tells`` is False where the load could not have told the two apart.
    """

    ranks: tuple[str, ...]
    looks: int
    at_once: float
    measured: Marks
    by_count: Marks
    by_length: Marks
    tells: bool

    @property
    def excess(self) -> float:
        """The measured imbalance above 1, as a share of that by count."""
        above = self.by_count.imbalance - 1
        return (self.measured.imbalance - 1) / above if above > 0 else 1.0


def kv_spread(
    series: Series, stays: Sequence[Stay], *, block_size: int, limits: ClientThresholds
) -> KvSpread | None:
    """None where there is nothing to spread over or nothing was seen: one rank, no request, no look."""
    ranks = series.ranks
    if len(ranks) < 2 or not stays:  # noqa: PLR2004
        return None
    looks = series.states(min(stay.begin_s for stay in stays), max(stay.end_s for stay in stays))
    looks = [(at_s, state) for at_s, state in looks if len(state) == len(ranks)]
    if not looks:
        return None
    deal = _Deals(stays, [at_s for at_s, _ in looks], len(ranks), block_size)
    dice = random.Random("deals")  # noqa: S311 - reproducible on purpose
    counted = [deal.marks(by_count(len(stays), len(ranks), dice)) for _ in range(_DEALS)]
    by_length = deal.marks(by_least_kv(stays, len(ranks)))
    expected = Marks(
        imbalance=statistics.fmean(marks.imbalance for marks in counted),
        preference=_mean([marks.preference for marks in counted]),
    )
    lucky = sum(marks.pass_(expected.imbalance, limits) for marks in counted) / _DEALS
    return KvSpread(
        ranks=ranks,
        looks=len(looks),
        at_once=deal.at_once,
        measured=_measured(ranks, [state for _, state in looks]),
        by_count=expected,
        by_length=by_length,
        tells=by_length.pass_(expected.imbalance, limits) and lucky <= _CHANCE,
    )


def unevenness(rows: Sequence[Row]) -> float:
    """Standard deviation over mean, both summed over the rows; 0 of nothing."""
    mean = sum(statistics.fmean(row) for row in rows)
    return sum(map(_deviation, rows)) / mean if mean else 0.0


def imbalance(rows: Sequence[Row]) -> float:
    """Greatest over mean, both summed over the rows; 1 of nothing."""
    mean = sum(statistics.fmean(row) for row in rows)
    return sum(max(row) for row in rows) / mean if mean else 1.0


def by_count(requests: int, ranks: int, dice: random.Random) -> list[int]:
    """Ranks in turn, each round in an order of its own: as fair as counting can be, and blind to lengths."""
    dealt: list[int] = []
    while len(dealt) < requests:
        dealt += dice.sample(range(ranks), ranks)
    return dealt[:requests]


def by_least_kv(stays: Sequence[Stay], ranks: int) -> list[int]:
    """Each to the rank that has the least KV when it comes."""
    dealt = [0] * len(stays)
    there: list[tuple[Stay, int]] = []
    for number, stay in sorted(enumerate(stays), key=lambda item: item[1].begin_s):
        there = [(other, rank) for other, rank in there if other.end_s > stay.begin_s]
        held = [0] * ranks
        for other, rank in there:
            held[rank] += other.tokens(stay.begin_s, 1)
        dealt[number] = held.index(min(held))
        there.append((stay, dealt[number]))
    return dealt


class _Deals:
    """What ranks would have had at the same looks, had the same requests gone elsewhere."""

    def __init__(self, stays: Sequence[Stay], looks: Sequence[float], ranks: int, block_size: int) -> None:
        self._ranks = ranks
        self._present = [
            [
                (number, tokens)
                for number, stay in enumerate(stays)
                if (tokens := stay.tokens(at_s, block_size))
            ]
            for at_s in looks
        ]
        self.at_once = statistics.fmean(len(present) for present in self._present)

    def marks(self, dealt: Sequence[int]) -> Marks:
        tokens, requests = [], []
        for present in self._present:
            held, here = [0.0] * self._ranks, [0.0] * self._ranks
            for number, length in present:
                held[dealt[number]] += length
                here[dealt[number]] += 1
            tokens.append(held)
            requests.append(here)
        return _marks(tokens, requests)


def _measured(ranks: Sequence[str], states: Sequence[Mapping[str, RankReading]]) -> Marks:
    def rows(value: Callable[[RankReading], float]) -> list[Row]:
        return [[value(state[rank]) for rank in ranks] for state in states]

    if any(reading.requests is None for state in states for reading in state.values()):
        return _marks(rows(lambda reading: reading.length), [])
    return _marks(rows(lambda reading: reading.length), rows(lambda reading: reading.requests or 0))


def _marks(tokens: Sequence[Row], requests: Sequence[Row]) -> Marks:
    of_requests = unevenness(requests)
    return Marks(
        imbalance=imbalance(tokens),
        preference=unevenness(tokens) / of_requests if of_requests else None,
    )


def _deviation(row: Row) -> float:
    """The standard deviation. That of `statistics` is exact, and takes twenty times as long."""
    mean = math.fsum(row) / len(row)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in row) / len(row))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None
