"""What two sets of values say about each other. numpy is only imported from here on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pdtest.compare.effect import interval, shift
from pdtest.compare.holm import holm
from pdtest.compare.ranks import chances, smallest_chance

__all__ = ["Evidence", "correct", "smallest_chance", "weigh"]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """``shift``: new over old. ``higher``, ``lower``: chances that noise alone ranks the new ones so."""

    shift: float
    interval: tuple[float, float]
    higher: float
    lower: float


def weigh(old: Sequence[float], new: Sequence[float]) -> Evidence:
    """One measure, by run. At least one value on each side."""
    before, after = np.asarray(old, dtype=float), np.asarray(new, dtype=float)
    ranked = chances(before, after)
    return Evidence(
        shift=float(shift(before, after)),
        interval=interval(before, after),
        higher=float(ranked.higher),
        lower=float(ranked.lower),
    )


def correct(family: Sequence[float]) -> list[float]:
    """p-values of one family, corrected."""
    return [float(chance) for chance in holm(np.asarray(family, dtype=float))]
