"""Digests of KV: one exact number and two rough ones for each token, layer, K or V, and head.

The exact one tells whether two rows are the same; the rough ones how they differ. All are sums over a row,
so that all rows of a prompt are worked on at once, and no hash function is called a million times.

What the embedded engine writes is the same (pdtest/embedded/connectors/digests.py): whoever changes one
changes both.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

_Words = npt.NDArray[np.uint64]
_Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Digests:
    """Of rows (..., head_dim), without that last axis.

    ``exact``: the bits of all numbers of a row, each times an odd number of its own, summed modulo 2**64. One
    changed number always changes it; other rows have the same once in about 2**60 pairs. That of zeros is 0.
    ``projection``: the numbers' sum, each with a sign of its own: of a row times 1.01 it is 1.01 times that.
    ``peak``: the largest absolute value; NaN where there is one.
    """

    exact: _Words
    projection: _Floats
    peak: _Floats


def digests(rows: npt.NDArray[np.float32]) -> Digests:
    """Those of ``rows``, whatever their layout in memory."""
    factors, signs = _factors(rows.shape[-1])
    words = np.ascontiguousarray(rows).view(np.uint32).astype(np.uint64)
    return Digests(
        exact=(words * factors).sum(axis=-1, dtype=np.uint64),
        projection=(rows.astype(np.float64) @ signs).astype(np.float32),
        peak=np.abs(rows).max(axis=-1, initial=0.0),
    )


@cache
def _factors(size: int) -> tuple[_Words, npt.NDArray[np.float64]]:
    """Odd factors and signs: splitmix64 of 1, 2, 3 ..."""
    with np.errstate(over="ignore"):
        z = np.arange(1, size + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return z | np.uint64(1), np.where(z >> np.uint64(63), 1.0, -1.0)
