"""Percentiles of what was measured."""

from __future__ import annotations

from collections.abc import Sequence


def percentile(ranked: Sequence[float], percent: int) -> float:
    """The smallest of the ranked values that is not below ``percent`` of them."""
    return ranked[max(-(-len(ranked) * percent // 100) - 1, 0)]
