"""How long prompts are. Tokens."""

from __future__ import annotations

import math
import random
from statistics import NormalDist


def long_tail(  # noqa: PLR0913 - the parts of a distribution, by name
    count: int, *, median: float, sigma: float, shortest: int, longest: int, seed: int
) -> tuple[int, ...]:
    """Log-normal lengths, cut off at both ends, in random order.

    They are the ``count`` middles of equal shares of the distribution, not ``count`` draws from it: a
    hundred then have the tail that ten thousand would have, whatever the seed, and only their order varies.

    Raises ValueError when ``shortest`` is more than ``longest``.
    """
    if shortest > longest:
        raise ValueError(f"expected lengths from {shortest} to {longest}: that is none")
    normal = NormalDist()
    scores = (normal.inv_cdf((number + 0.5) / count) for number in range(count))
    lengths = [min(max(round(median * math.exp(sigma * score)), shortest), longest) for score in scores]
    random.Random(f"lengths:{seed}").shuffle(lengths)  # noqa: S311 - reproducible on purpose
    return tuple(lengths)
