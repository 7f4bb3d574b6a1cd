"""Curves, of so few points that a page can hold many."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

Points = tuple[tuple[float, float], ...]

#: Points that a curve may have: more than a screen has columns for it.
_MOST: Final = 240


def thinned(points: Iterable[tuple[float, float]]) -> Points:
    """As many as can be seen: of each stretch the least and the greatest, so that no peak is lost."""
    given = tuple(points)
    if len(given) <= _MOST:
        return _short(given)
    size = len(given) / (_MOST // 2)
    kept: list[tuple[float, float]] = []
    for stretch in range(_MOST // 2):
        part = given[int(stretch * size) : int((stretch + 1) * size)]
        least, most = min(part, key=_height), max(part, key=_height)
        kept += sorted({least, most})
    return _short(kept)


def in_flight(spans: Iterable[tuple[float, float]]) -> Points:
    """How many of these (from, to) are under way: a step at each time at which one begins or ends."""
    changes: dict[float, int] = {}
    for begin, end in spans:
        changes[begin] = changes.get(begin, 0) + 1
        changes[end] = changes.get(end, 0) - 1
    steps, height = [], 0
    for at in sorted(changes):
        height += changes[at]
        steps.append((at, float(height)))
    return tuple(steps)


def per_second(events: Iterable[tuple[float, int]], lasted_s: float) -> Points:
    """A rate over time, from (when, how much), in stretches of equal length; each point in its middle."""
    if lasted_s <= 0:
        return ()
    count = max(min(_MOST // 2, math.ceil(lasted_s / 0.25)), 1)
    each = lasted_s / count
    heights = [0.0] * count
    for at, amount in events:
        heights[min(max(int(at / each), 0), count - 1)] += amount / each
    return _short(((place + 0.5) * each, height) for place, height in enumerate(heights))


def shares(ordered: Sequence[float]) -> Points:
    """(value, share of values that are not greater), from values in order of size."""
    count = len(ordered)
    ranks = range(count) if count <= _MOST else sorted({*_spread(count, _MOST), 0, count - 1})
    return _short((ordered[rank], (rank + 1) / count) for rank in ranks)


def _spread(count: int, parts: int) -> Iterable[int]:
    return (part * (count - 1) // (parts - 1) for part in range(parts))


def _short(points: Iterable[tuple[float, float]]) -> Points:
    """Six digits: what nobody can see need not be kept."""
    return tuple((float(f"{at:.6g}"), float(f"{height:.6g}")) for at, height in points)


def _height(point: tuple[float, float]) -> float:
    return point[1]
