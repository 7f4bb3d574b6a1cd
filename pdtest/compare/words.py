"""Numbers as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: From the greatest: the first that a value reaches is taken.
_SECONDS: Final = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"))
_BYTES: Final = ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B"))
_SCALES: Final[Mapping[str, tuple[tuple[float, str], ...]]] = {"s": _SECONDS, "bytes": _BYTES}


def quantity(value: float, unit: str) -> str:
    """Three digits and the unit: ``12.3 ms``, ``98.5 %`` for shares, ``1.25 J/token``."""
    if unit == "1":
        return percent(value)
    scales = _SCALES.get(unit, ((1.0, unit),))
    scale, name = next((one for one in scales if abs(value) >= one[0]), scales[-1])
    return f"{digits(value / scale)} {name}"


def percent(share: float) -> str:
    """``12 %``; with a decimal below 10 %."""
    places = 0 if abs(share) >= 0.0995 and abs(share) != 1 else 1  # noqa: PLR2004 - 9.95 % is shown as 10
    return f"{100 * share:.{places}f} %"


def signed(share: float) -> str:
    """``+12 %``, ``-3.1 %``."""
    return f"{'+' if share >= 0 else ''}{percent(share)}"


def digits(value: float) -> str:
    """Three digits that count, thousands in full: ``0.0123``, ``1.25``, ``12345``."""
    if not value:
        return "0"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"  # noqa: PLR2004 - three digits are there


def counted(count: int, noun: str) -> str:
    """``1 run``, ``5 runs``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
