"""Whether new values rank above old ones: the exact Mann-Whitney test, one-sided, with ties.

Exact with ties, too: the distribution of the rank sum is counted over all ways of sharing out the ranks
that were seen, equal values having their mean rank. scipy's ``mannwhitneyu`` (1.17) is exact either without
ties, or by trying all ways one by one, which takes seconds at 9 runs a side.
"""

from __future__ import annotations

from functools import lru_cache
from math import comb
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Values by run, on the last axis; any number of cases before it.
Values = NDArray[np.float64]


class Chances(NamedTuple):
    """How often noise alone would rank the new values so high, or so low. One value for each case."""

    higher: Values
    lower: Values


def chances(old: Values, new: Values) -> Chances:
    """Exact one-sided p-values; shapes (..., n) and (..., m) give (...)."""
    pairs = np.sign(new[..., :, None] - old[..., None, :])
    # Of twice the ranks, so that means of two ranks are whole numbers: U counted from wins, ties as halves.
    wins = (pairs.sum(axis=(-1, -2)) + old.shape[-1] * new.shape[-1]).astype(np.int64)
    size = new.shape[-1]
    sums = wins + size * (size + 1)
    ranks = _doubled_ranks(np.concatenate([old, new], axis=-1))
    higher, lower = np.empty(sums.shape), np.empty(sums.shape)
    for index in np.ndindex(sums.shape):
        above, below = _tails(tuple(ranks[index].tolist()), size)
        higher[index], lower[index] = above[sums[index]], below[sums[index]]
    return Chances(higher, lower)


def smallest_chance(old: int, new: int) -> float:
    """The p-value of the clearest outcome there is, with so many runs: all of one side above all others."""
    return 1 / comb(old + new, new)


def _doubled_ranks(values: Values) -> NDArray[np.int64]:
    """Twice the mean ranks, sorted, which is all that the distribution depends on."""
    smaller = (values[..., :, None] > values[..., None, :]).sum(axis=-1)
    same = (values[..., :, None] == values[..., None, :]).sum(axis=-1)
    return np.sort(2 * smaller + same + 1, axis=-1).astype(np.int64)


@lru_cache(maxsize=256)
def _tails(doubled: tuple[int, ...], size: int) -> tuple[Values, Values]:
    """By rank sum of ``size`` of these ranks: the chance of that sum or a higher one, and of a lower one."""
    ways = np.zeros((size + 1, sum(doubled) + 1))
    ways[0, 0] = 1
    for rank in doubled:
        for taken in range(size, 0, -1):
            ways[taken, rank:] += ways[taken - 1, :-rank]
    total = ways[size].sum()
    return ways[size][::-1].cumsum()[::-1] / total, ways[size].cumsum() / total
