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
        answered_at = now()
        middle, half = (asked_at + answered_at) / 2, (answered_at - asked_at) / 2
        found.append(Skew(offset_s=told - middle, error_s=half))
    return min(found, key=lambda skew: skew.error_s)
