"""Holm's correction: many measures are looked at, and one of them always looks bad."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def holm(chances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Corrected p-values; a family is on the last axis. The chance that any up to alpha is false is alpha.

    S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6 (1979). It asks
    nothing of how the measures hang together, and they do: a slow host slows all.
    """
    count = chances.shape[-1]
    order = np.argsort(chances, axis=-1)
    steps = np.take_along_axis(chances, order, axis=-1) * np.arange(count, 0, -1)
    corrected = np.empty_like(steps)
    np.put_along_axis(corrected, order, np.maximum.accumulate(steps, axis=-1).clip(max=1), axis=-1)
    return corrected
