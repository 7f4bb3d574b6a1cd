"""Numbers as people read them."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

NONE: Final = "–"  # noqa: RUF001 - a dash is what tables have there
_MINUTE: Final = 60
_HOUR: Final = 3600
#: From here on bytes are told in the next unit.
_KIBI: Final = 1024
#: Below it a change is shown with a decimal, which would round it up to 10.0.
_TENTH: Final = 0.0995
_VARYING: Final = frozenset({"s", "1", "bytes", "J", "W"})
_BYTES: Final = ("bytes", "KiB", "MiB", "GiB", "TiB")


@dataclass(frozen=True)
class Scale:
    """How several values of one unit are written so that they can be compared: ``unit`` is said once."""

    factor: float
    unit: str

    @classmethod
    def of(cls, values: Iterable[float | None], unit: str) -> Scale:
        """The unit in which the greatest of them reads best."""
        most = max((abs(value) for value in values if value is not None), default=0.0)
        if unit == "1":
            return cls(100.0, "%")
        if unit == "s" and 0 < most < 1:
            return cls(1e3, "ms") if most >= 1e-3 else cls(1e6, "µs")  # noqa: PLR2004 - a millisecond
        what, slash, each = unit.partition("/")
        if what == "bytes":
            power = min(int(math.log(most, _KIBI)) if most >= 1 else 0, len(_BYTES) - 1)
            return cls(float(_KIBI) ** -power, f"{_BYTES[power]}{slash}{each}")
        return cls(1.0, unit)

    def __call__(self, value: float | None) -> str:
        """Without the unit."""
        return NONE if value is None else digits(value * self.factor)


def amount(value: float | None, unit: str = "") -> str:
    """A value with its unit, three digits of it: ``12.3 ms``, ``98.5 %``, ``1 234 tokens/s``."""
    if value is None:
        return NONE
    if unit == "s":
        return duration(value)
    if unit == "1":
        return f"{digits(value * 100)} %"
    if unit == "bytes":
        return _bytes(value)
    return f"{digits(value)} {unit}".rstrip()


def entry(value: float | None, unit: str) -> str:
    """In a table whose rows are named: with its unit only where that varies with the value, or is short."""
    return amount(value, unit) if value is None or unit in _VARYING else digits(value)


def duration(seconds: float | None) -> str:
    """Of any length: ``0.4 ms``, ``2.31 s``, ``3 min 20 s``, ``2 h 05 min``."""
    if seconds is None:
        return NONE
    if abs(seconds) >= _HOUR:
        return f"{int(seconds // _HOUR)} h {int(seconds % _HOUR // _MINUTE):02} min"
    if abs(seconds) >= 3 * _MINUTE:
        return f"{int(seconds // _MINUTE)} min {int(seconds % _MINUTE):02} s"
    if abs(seconds) >= 1 or seconds == 0:
        return f"{digits(seconds)} s"
    if abs(seconds) >= 1e-3:  # noqa: PLR2004 - a millisecond
        return f"{digits(seconds * 1e3)} ms"
    return f"{digits(seconds * 1e6)} µs"


def digits(value: float) -> str:
    """Three significant ones, no exponent, thousands apart."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    places = max(2 - math.floor(math.log10(abs(value))), 0)
    text = f"{value:,.{min(places, 6)}f}".replace(",", " ")
    return text.rstrip("0").rstrip(".") if "." in text else text


def percent(share: float) -> str:
    """A change: ``12 %``, with a decimal below 10 %."""
    text = f"{100 * share:.{1 if abs(share) < _TENTH else 0}f} %"
    return text.removeprefix("-") if text == "-0.0 %" else text


def signed(share: float) -> str:
    """``+12 %``, ``-3.1 %``."""
    text = percent(share)
    return text if text.startswith("-") else f"+{text}"


def moment(at: float | None) -> str:
    """Of the epoch, in the zone of whoever makes the report."""
    return time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(at)) if at is not None else NONE


def counted(count: int, noun: str) -> str:
    """``1 test``, ``2 tests``, ``2 processes``."""
    plural = "es" if noun.endswith("s") else "s"
    return f"{count} {noun}{'' if count == 1 else plural}"


def _bytes(value: float) -> str:
    power = 0
    while abs(value) >= _KIBI and power < len(_BYTES) - 1:
        value, power = value / _KIBI, power + 1
    return f"{digits(value)} {_BYTES[power]}"
