"""Many values of one quantity, and the few numbers that are told of them."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Iterator
from typing import Final, Self

from pdtest.results import Better, Measure

#: Percentiles that are told of every distribution.
PERCENTILES: Final = (50, 90, 95, 99)
#: A percentile with fewer observations beyond it is made of chance.
BEYOND: Final = 10


class Samples:
    """Observations in order of size, each with a weight: how many tokens it stands for.

    Args:
        weighted: pairs of value and weight, in any order. A weight is 1 or more.
    """

    def __init__(self, weighted: Iterable[tuple[float, int]]) -> None:
        self._ranked = sorted(weighted)
        self._weights = [*itertools.accumulate(weight for _, weight in self._ranked)]

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """Observations that stand for one each."""
        return cls((value, 1) for value in values)

    def __len__(self) -> int:
        """How many observations, whatever their weights."""
        return len(self._ranked)

    @property
    def weight(self) -> int:
        """The sum of the weights."""
        return self._weights[-1] if self._weights else 0

    @property
    def mean(self) -> float | None:
        """None of no observations."""
        if not self._ranked:
            return None
        return sum(value * weight for value, weight in self._ranked) / self.weight

    @property
    def most(self) -> float | None:
        """The greatest."""
        return self._ranked[-1][0] if self._ranked else None

    def percentile(self, percent: int) -> float | None:
        """The smallest value that ``percent`` of the weight does not exceed (nearest rank, no interpolation).

        None where fewer than `BEYOND` observations rank after it.
        """
        if not self._ranked:
            return None
        rank = max(-(-self.weight * percent // 100), 1)
        place = bisect.bisect_left(self._weights, rank)
        return self._ranked[place][0] if len(self) - place - 1 >= BEYOND else None


def distribution(name: str, unit: str, samples: Samples, *, absent: str) -> Iterator[Measure]:
    """``<name>_mean``, ``_p50`` and the other `PERCENTILES`, and ``_max``, which is told and never judged.

    ``absent``: why there is nothing, where there are no samples.
    """
    why = None if len(samples) else absent
    count = samples.weight

    def measure(statistic: str, value: float | None, better: Better, why: str | None) -> Measure:
        return Measure(
            name=f"{name}_{statistic}", value=value, unit=unit, better=better, samples=count, why=why
        )

    yield measure("mean", samples.mean, Better.LOWER, why)
    for percent in PERCENTILES:
        value = samples.percentile(percent)
        few = f"fewer than {BEYOND} of {len(samples)} observations lie beyond it"
        yield measure(f"p{percent}", value, Better.LOWER, (why or few) if value is None else None)
    yield measure("max", samples.most, Better.NEITHER, why)
