"""How much of its time an instance had work."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

#: Times of work that are remembered; of an instance with more of them in a window, the oldest do not count.
_MOST = 1 << 14


class Occupancy:
    """Counts the seconds in which there was something to do, over a window that ends now."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._works = 0
        self._since = 0.0
        #: From when to when it had work: what is over.
        self._over: deque[tuple[float, float]] = deque(maxlen=_MOST)

    def began(self) -> None:
        """One more thing to do."""
        if not self._works:
            self._since = self._clock()
        self._works += 1

    def ended(self) -> None:
        """One less."""
        self._works -= 1
        if not self._works:
            self._over.append((self._since, self._clock()))

    def share(self, window_s: float) -> float:
        """Of the last ``window_s`` seconds, 0 to 1. What is older is forgotten."""
        now = self._clock()
        start = now - window_s
        while self._over and self._over[0][1] <= start:
            self._over.popleft()
        seconds = sum(end - max(begin, start) for begin, end in self._over)
        if self._works:
            seconds += now - max(self._since, start)
        return min(1.0, seconds / window_s)
