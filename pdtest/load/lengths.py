"""How long prompts and answers are. Tokens."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from statistics import NormalDist

from pdtest.environment.distributions import (
    Bimodal,
    Distribution,
    Empirical,
    Fixed,
    LogNormal,
    Pareto,
    Uniform,
)


def lengths_of(distribution: Distribution, count: int, *, seed: int | str) -> tuple[int, ...]:
    """``count`` lengths in random order: middles of equal shares of the distribution, see `long_tail`."""
    match distribution:
        case Fixed(tokens=tokens):
            return (tokens,) * count
        case LogNormal(median=median, sigma=sigma, shortest=shortest, longest=longest):
            return long_tail(count, median=median, sigma=sigma, shortest=shortest, longest=longest, seed=seed)
        case Uniform(shortest=shortest, longest=longest):
            return _spread(count, lambda share: shortest + int(share * (longest - shortest + 1)), seed)
        case Pareto(alpha=alpha, shortest=shortest, longest=longest):
            return _spread(
                count, lambda share: min(round(shortest * (1 - share) ** (-1 / alpha)), longest), seed
            )
        case Bimodal():
            return _spread(count, lambda share: _of_modes(distribution, share), seed)
        case Empirical(tokens=seen):
            ranked = sorted(seen)
            return _spread(count, lambda share: ranked[int(share * len(ranked))], seed)


def long_tail(  # noqa: PLR0913 - the parts of a distribution, by name
    count: int, *, median: float, sigma: float, shortest: int, longest: int, seed: int | str
) -> tuple[int, ...]:
    """Log-normal lengths, cut off at both ends, in random order.

    They are the ``count`` middles of equal shares of the distribution, not ``count`` draws from it: a
    hundred then have the tail that ten thousand would have, whatever the seed, and only their order varies.

    Raises ValueError when ``shortest`` is more than ``longest``.
    """
    if shortest > longest:
        raise ValueError(f"expected lengths from {shortest} to {longest}: that is none")
    normal = NormalDist()

    def length(share: float) -> int:
        return min(max(round(median * math.exp(sigma * normal.inv_cdf(share))), shortest), longest)

    return _spread(count, length, seed)


def _of_modes(bimodal: Bimodal, share: float) -> int:
    few = 1 - bimodal.long_share
    mode, within = (
        (bimodal.short, share / few) if share < few else (bimodal.long, (share - few) / bimodal.long_share)
    )
    return max(round(mode * (1 + bimodal.spread * (2 * within - 1))), 1)


def _spread(count: int, quantile: Callable[[float], int], seed: int | str) -> tuple[int, ...]:
    lengths = [quantile((number + 0.5) / count) for number in range(count)]
    random.Random(f"lengths:{seed}").shuffle(lengths)  # noqa: S311 - reproducible on purpose
    return tuple(lengths)
