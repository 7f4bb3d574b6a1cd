"""How far a host's clock is from ours, by asking it for the time."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

_ASKED = 8


@dataclass(frozen=True, kw_only=True)
class Skew:
    """``offset_s`` to add to our clock to have the host's. It is right to within ``error_s``."""

    offset_s: float
    error_s: float


async def compare(tell: Callable[[], Awaitable[float]], now: Callable[[], float] = time.time) -> Skew:
    """From the quickest of several answers: the host read its clock somewhere between question and answer.

    So do RFC 5905's clients (clock filter): the error is at most half the round trip.
    """
    found = []
    for _ in range(_ASKED):
        asked_at = now()
        told = await tell()
        found.append(_between(asked_at, told, now()))
    return min(found, key=_error)


def compare_now(tell: Callable[[], float], now: Callable[[], float]) -> Skew:
    """As `compare`, of who blocks."""
    found = []
    for _ in range(_ASKED):
        asked_at = now()
        told = tell()
        found.append(_between(asked_at, told, now()))
    return min(found, key=_error)


def _between(asked_at: float, told: float, answered_at: float) -> Skew:
    middle, half = (asked_at + answered_at) / 2, (answered_at - asked_at) / 2
    return Skew(offset_s=told - middle, error_s=half)


def _error(skew: Skew) -> float:
    return skew.error_s
