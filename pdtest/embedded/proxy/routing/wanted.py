"""How many instances of a side there should be."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """How few and how many there may be, and when that changes.

    One more is wanted where they are ``busy`` for that share of their time or more, one less where they are
    ``idle`` but for that share or less, and it lasts ``over_s`` seconds.
    """

    least: int
    most: int
    busy: float
    idle: float
    over_s: float


class Wanted:
    """One more or one less at a time, and the next one only when there are as many as were wanted.

    After each change it must last anew. Between ``idle`` and ``busy`` nothing changes, so that what one more
    instance takes off the others does not at once make it one too many.
    """

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.number: int | None = None
        self._busy_since = self._idle_since = math.inf

    def look(self, now: int, share: float, at_s: float) -> int:
        """How many are wanted at ``at_s`` seconds, of ``now`` that are busy for ``share`` of their time."""
        bounds = self.bounds
        if self.number is None and not now:
            return bounds.least  # they are about to come: nothing is known of them yet
        number = self._within(now if self.number is None else self.number)
        self._busy_since = min(self._busy_since, at_s) if share >= bounds.busy else math.inf
        self._idle_since = min(self._idle_since, at_s) if share <= bounds.idle else math.inf
        if at_s - self._busy_since >= bounds.over_s and number <= now:
            number = self._changed(number + 1)
        elif at_s - self._idle_since >= bounds.over_s and number >= now:
            number = self._changed(number - 1)
        self.number = number
        return number

    def _changed(self, number: int) -> int:
        self._busy_since = self._idle_since = math.inf
        return self._within(number)

    def _within(self, number: int) -> int:
        return max(self.bounds.least, min(number, self.bounds.most))
