"""Numbers as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: From the greatest: the first that a value reaches is taken.
_SECONDS: Final = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"))
_BYTES: Final = ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B"))
#: Below it a decimal is shown, which it would round up to 10.0.
_TENTH: Final = 0.0995
_SCALES: Final[Mapping[str, tuple[tuple[float, str], ...]]] = {"s": _SECONDS, "bytes": _BYTES}


def quantity(value: float, unit: str) -> str:
    """Three digits and the unit: ``12.3 ms``, ``98.5 %`` for shares, ``1.25 J/token``."""
    if unit == "1":
        return f"{100 * value:.1f} %"
    scales = _SCALES.get(unit, ((1.0, unit),))
    scale, name = next((one for one in scales if abs(value) >= one[0]), scales[-1])
    return f"{digits(value / scale)} {name}"


def percent(share: float) -> str:
    """A change: ``12 %``, with a decimal below 10 %."""
    text = f"{100 * share:.{1 if abs(share) < _TENTH else 0}f} %"
    return text.removeprefix("-") if text == "-0.0 %" else text


def signed(share: float) -> str:
    """``+12 %``, ``-3.1 %``."""
    text = percent(share)
    return text if text.startswith("-") else f"+{text}"


def digits(value: float) -> str:
    """Three digits that count, thousands in full: ``0.0123``, ``1.25``, ``12345``."""
    if not value:
        return "0"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"  # noqa: PLR2004 - three digits are there


def counted(count: int, noun: str) -> str:
    """``1 run``, ``5 runs``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
