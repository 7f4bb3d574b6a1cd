"""How likely something is by chance, exactly: what a fair router does once in a million runs is no alarm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

#: A verdict against a router by chance: one in a million.
ALPHA: Final = 1e-6


def at_least(hits: int, tries: int, share: float) -> float:
    """How often so many or more of ``tries`` hit, where each does with a probability of ``share``."""
    return math.fsum(_exactly(count, tries, share) for count in range(hits, tries + 1))


def at_most(hits: int, tries: int, share: float) -> float:
    """How often so many or fewer hit."""
    return math.fsum(_exactly(count, tries, share) for count in range(hits + 1))


def uneven(counts: Sequence[int]) -> float:
    """A bound of how often a fair deal gives somebody so many, or somebody so few, as are dealt here.

    Exact binomials of the greatest and the smallest, times the number of those who could have been it.
    """
    tries, many = sum(counts), len(counts)
    most = at_least(max(counts), tries, 1 / many)
    least = at_most(min(counts), tries, 1 / many)
    return min(many * min(most, least) * 2, 1.0)


def enough(many: int, alpha: float = ALPHA) -> int:
    """How many must be dealt to ``many`` so that it shows for certain when one gets them all."""
    tries = many
    while uneven([tries, *[0] * (many - 1)]) > alpha / 10:
        tries += many
    return tries


def _exactly(hits: int, tries: int, share: float) -> float:
    return math.comb(tries, hits) * share**hits * (1 - share) ** (tries - hits)
