"""Where a value lies in a picture, and which values are written beside it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Self

from pdtest.results.amount import digits

_STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
_DECADE: Final = (1.0, 2.0, 5.0)
#: Decades from which on only their beginnings are written, and up to which round steps are.
_MANY: Final = 2.0
_FEW: Final = 0.8
#: Share of the values' size that an axis shows at least: below it, noise would look like news.
_LEAST: Final = 0.1


@dataclass(frozen=True, kw_only=True)
class Tick:
    """``share`` of the axis' length, 0 to 1."""

    share: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Axis:
    """From ``low`` to ``high`` in ``unit``; ``log`` needs both above 0."""

    low: float
    high: float
    unit: str = ""
    log: bool = False

    @classmethod
    def over(cls, values: Iterable[float], unit: str = "", *, zero: bool = True) -> Self:
        """Linear, long enough for all values; with ``zero`` it begins there, else it shows small changes."""
        known = [*values]
        low, high = min(known, default=0.0), max(known, default=1.0)
        if zero:
            low = min(low, 0.0)
        else:
            least = _LEAST * max(abs(low), abs(high))
            low, high = min(low, (low + high - least) / 2), max(high, (low + high + least) / 2)
        if high <= low:
            high = low + (abs(low) or 1.0)
        room = (high - low) * 0.06
        return cls(low=low if zero and low == 0 else low - room, high=high + room, unit=unit)

    @classmethod
    def of_magnitudes(cls, values: Iterable[float], unit: str = "") -> Self:
        """Logarithmic over what is above 0."""
        known = [value for value in values if value > 0]
        low, high = min(known, default=1.0), max(known, default=10.0)
        return cls(low=low / 1.15, high=max(high * 1.15, low * 2), unit=unit, log=True)

    def share(self, value: float) -> float:
        """Where it lies, 0 to 1; values beyond the ends lie at them."""
        if self.log:
            value = max(value, self.low)
            place = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            place = (value - self.low) / (self.high - self.low)
        return min(max(place, 0.0), 1.0)

    def ticks(self, wanted: int = 4) -> tuple[Tick, ...]:
        """Round values, about as many as wanted."""
        scale, unit = self._scale()
        few = not self.log or math.log10(self.high / self.low) < _FEW
        values = [*(self._round(wanted) if few else self._magnitudes())]
        return tuple(
            Tick(share=self.share(value), text=f"{digits(round(value * scale, 9))}{unit}") for value in values
        )

    def _scale(self) -> tuple[float, str]:
        """What values are multiplied with, and what is written after them."""
        if self.unit == "s" and self.high < 1:
            return 1e3, " ms"
        if self.unit == "1":
            return 100.0, " %"
        return 1.0, f" {self.unit}" if self.unit in {"s", "W", "°C"} else ""

    def _round(self, wanted: int) -> Iterator[float]:
        raw = (self.high - self.low) / wanted
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(step * power for step in _STEPS if step * power >= raw * 0.999)
        count = math.ceil(self.low / step - 1e-9)
        while count * step <= self.high * (1 + 1e-9):
            yield count * step
            count += 1

    def _magnitudes(self) -> Iterator[float]:
        wide = math.log10(self.high / self.low) > _MANY
        for power in range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1):
            for digit in (1.0,) if wide else _DECADE:
                value = digit * 10.0**power
                if self.low <= value <= self.high:
                    yield value
