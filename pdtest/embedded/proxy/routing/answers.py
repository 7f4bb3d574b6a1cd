"""How long answers were of late."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

#: Answers that count at the most: the latest.
_MOST = 1 << 12


class RecentAnswers:
    """Lengths of the answers that ended in the last ``recall_s`` seconds, tokens."""

    def __init__(self, recall_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._recall_s = recall_s
        self._clock = clock
        self._lengths: deque[tuple[float, float]] = deque()
        self._sum = 0.0

    def add(self, tokens: float) -> None:
        """One more."""
        self._lengths.append((self._clock(), tokens))
        self._sum += tokens
        if len(self._lengths) > _MOST:
            self._drop()

    @property
    def mean(self) -> float | None:
        """Their mean; None where there were none."""
        oldest = self._clock() - self._recall_s
        while self._lengths and self._lengths[0][0] < oldest:
            self._drop()
        return self._sum / len(self._lengths) if self._lengths else None

    def _drop(self) -> None:
        _, tokens = self._lengths.popleft()
        # Sums of whole tokens are exact; with none left there is nothing to be off by.
        self._sum = self._sum - tokens if self._lengths else 0.0
