"""The energy that a device took, as a curve over the time of a load."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from pdtest.results.monitor import Monitor

COUNTER: Final = "energy_j"
POWER: Final = "power_w"
ALL: Final = "*"

#: Readings that are further apart than so many intervals leave open what was in between.
_GAP: Final = 10
#: So many intervals before the first and after the last reading it may have gone on as it was.
_EDGE: Final = 2


@dataclass(frozen=True)
class Curve:
    """Joules since the first reading, at each reading: rises, straight in between."""

    times: Sequence[float]
    joules: Sequence[float]

    def at(self, when_s: float) -> float:
        """Joules at a moment; before the first reading and after the last as in the interval next to it."""
        index = min(max(bisect_left(self.times, when_s), 1), len(self.times) - 1)
        begin_s, end_s = self.times[index - 1], self.times[index]
        below, above = self.joules[index - 1], self.joules[index]
        return below + (above - below) * (when_s - begin_s) / (end_s - begin_s)


def has_power(monitor: Monitor) -> bool:
    """Whether it is about something whose power is told, or ought to be.

    Chips that share a card's power are not: their card is, under a name of its own.
    """
    wanted = {POWER, COUNTER}
    if monitor.kind not in {"nvidia", "ascend", "cpu"}:
        return False
    return bool(wanted & monitor.units.keys()) or bool({ALL, *wanted} & monitor.missing.keys())


def curve(monitor: Monitor, begin_s: float, end_s: float) -> Curve | str:
    """The energy of a device over a span, or why it cannot be told.

    From its energy counter where it has one, else its power integrated over time (trapezoids). Energy at
    moments between readings is interpolated.
    """
    counted = _series(monitor, COUNTER)
    if len(counted) > 1:
        found = Curve([at for at, _ in counted], [joules - counted[0][1] for _, joules in counted])
        # A counter has what happened while nobody looked, so gaps do it no harm.
        return _backwards(found) or _uncovered(found, monitor, begin_s, end_s) or found
    powers = _series(monitor, POWER)
    if len(powers) > 1:
        found = _integrated(powers)
        return _gap(found, monitor, begin_s, end_s) or _uncovered(found, monitor, begin_s, end_s) or found
    for name in (ALL, POWER, COUNTER):
        if name in monitor.missing:
            return monitor.missing[name]
    return f"{len(powers)} readings of its power"


def _series(monitor: Monitor, quantity: str) -> Sequence[tuple[float, float]]:
    """Readings of a quantity, no two of one moment."""
    found = {one.at_s: one.values[quantity] for one in monitor.readings if quantity in one.values}
    return sorted(found.items())


def _integrated(powers: Sequence[tuple[float, float]]) -> Curve:
    joules = [0.0]
    for (begin_s, before), (end_s, after) in pairwise(powers):
        joules.append(joules[-1] + (before + after) / 2 * (end_s - begin_s))
    return Curve([at for at, _ in powers], joules)


def _backwards(found: Curve) -> str | None:
    if any(after < before for before, after in pairwise(found.joules)):
        return "its energy counter went backwards: the driver was loaded anew"
    return None


def _uncovered(found: Curve, monitor: Monitor, begin_s: float, end_s: float) -> str | None:
    edge_s = _EDGE * max(monitor.every_s, monitor.true_every_s or 0.0)
    first_s, last_s = found.times[0], found.times[-1]
    if first_s - begin_s > edge_s:
        return f"its first reading came {first_s - begin_s:.1f} s after the beginning"
    if end_s - last_s > edge_s:
        return f"its last reading came {end_s - last_s:.1f} s before the end"
    return None


def _gap(found: Curve, monitor: Monitor, begin_s: float, end_s: float) -> str | None:
    apart = [after - before for before, after in pairwise(found.times) if after > begin_s and before < end_s]
    if max(apart, default=0.0) > _GAP * monitor.every_s:
        return f"no reading of its power for {max(apart):.1f} s"
    return None
