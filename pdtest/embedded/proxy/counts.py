"""What the proxy counts of requests."""

from __future__ import annotations

from collections import Counter

from pdtest.embedded.proxy.histogram import FINE_BOUNDS, Histogram
from pdtest.embedded.proxy.routing.path import Path


class Requests:
    """Requests of clients that are over, by path and status; 499 are those whose client went away."""

    def __init__(self) -> None:
        self.by_status: Counter[tuple[str, int]] = Counter()

    def tell(self, path: str, status: int) -> None:
        """One more."""
        self.by_status[path, status] += 1


class Decisions:
    """Requests by the way that they took, and the seconds that it took to say who gets each."""

    def __init__(self) -> None:
        self.by_path: Counter[Path] = Counter()
        self.seconds = Histogram(bounds=FINE_BOUNDS)

    def tell(self, path: Path, seconds: float) -> None:
        """One more."""
        self.by_path[path] += 1
        self.seconds.add(seconds)
