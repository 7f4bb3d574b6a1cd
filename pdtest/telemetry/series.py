"""Readings over time, and how old the newest of them ever was."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pdtest.telemetry.source import RankReading


@dataclass(frozen=True, kw_only=True)
class Look:
    """What one look at a source brought. Times are of the watch's clock, seconds.

    ``due_s`` is when it was to be made, ``asked_s`` the moment that the readings are of, at the earliest, and
    ``seen_s`` when they were here.
    """

    due_s: float
    asked_s: float
    seen_s: float
    readings: Sequence[RankReading]


@dataclass(kw_only=True)
class Series:
    """The looks that brought something, in their order, and what went wrong with the others."""

    source: str
    silent_when_idle: bool = False
    looks: list[Look] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def late_s(self) -> float:
        """By how much a look was late at worst: the fault of who looks, not of what is looked at."""
        return max((look.asked_s - look.due_s for look in self.looks), default=0.0)

    @property
    def ranks(self) -> tuple[str, ...]:
        """All that were ever told of."""
        names = {reading.rank for look in self.looks for reading in look.readings}
        return tuple(sorted(names, key=lambda name: (len(name), name)))

    def states(self, begin_s: float, end_s: float) -> list[tuple[float, Mapping[str, RankReading]]]:
        """How all ranks were at each look of a span; one is as it last said, and left out before it did."""
        known: dict[str, RankReading] = {}
        states: list[tuple[float, Mapping[str, RankReading]]] = []
        for look in self.looks:
            known |= {reading.rank: reading for reading in look.readings}
            if begin_s <= look.seen_s <= end_s:
                states.append((look.asked_s, dict(known)))
        return states

    def at(self, when_s: float) -> Mapping[str, RankReading]:
        """What was known of the ranks at a moment."""
        return {
            reading.rank: reading
            for look in self.looks[: bisect_right([look.seen_s for look in self.looks], when_s)]
            for reading in look.readings
        }

    def oldest_s(self, begin_s: float, end_s: float) -> float:
        """How old the newest readings ever were within a span, seconds.

        Just before new ones come the old ones are oldest: their age counts from when they were asked for, so
        a slow answer makes them older. What there was before the span counts as of its beginning.
        """
        asked_s, oldest = begin_s, 0.0
        for look in self.looks:
            if begin_s <= look.seen_s <= end_s:
                oldest = max(oldest, look.seen_s - asked_s)
            if look.seen_s <= end_s:
                asked_s = max(asked_s, look.asked_s)
        return max(oldest, end_s - asked_s)
