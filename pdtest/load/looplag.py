"""How late an event loop is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

#: Between two looks; each costs some microseconds.
_EVERY_S = 0.01


@asynccontextmanager
async def watching_lag() -> AsyncIterator[list[float]]:
    """How much later than due each look was, seconds; grows for as long as the context lasts.

    The looks that a stall kept from being made count as if they had waited for its end: otherwise one look
    would stand for all of it.
    """
    watch = _Watch()
    try:
        yield watch.lags_s
    finally:
        watch.timer.cancel()


class _Watch:
    """A timer that sets itself again. A task would cost several times as much."""

    def __init__(self) -> None:
        self.lags_s: list[float] = []
        self._loop = asyncio.get_running_loop()
        self._set()

    def _set(self) -> None:
        self._due = time.monotonic() + _EVERY_S
        self.timer = self._loop.call_later(_EVERY_S, self._look)

    def _look(self) -> None:
        lag_s = max(time.monotonic() - self._due, 0.0)
        self.lags_s.append(lag_s)
        while lag_s > _EVERY_S:
            lag_s -= _EVERY_S
            self.lags_s.append(lag_s)
        self._set()
