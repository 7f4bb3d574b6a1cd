"""Which bytes of a segment are taken: first fit, neighbours that are free are one."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator


class Space:
    """Allocates ranges of ``0 .. capacity - 1``. It holds no memory itself."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.used = 0
        #: Free ranges (start, end) in order, never touching each other.
        self._gaps: list[tuple[int, int]] = [(0, capacity)] if capacity else []

    def allocate(self, size: int) -> int | None:
        """The offset of ``size`` bytes that are now taken; None when no gap is large enough."""
        if size == 0:
            return 0
        for index, (start, end) in enumerate(self._gaps):
            if end - start >= size:
                self._gaps[index : index + 1] = [(start + size, end)] if end - start > size else []
                self.used += size
                return start
        return None

    def free(self, offset: int, size: int) -> None:
        """Give back what `allocate` gave. Raises ValueError when it was not taken."""
        if size == 0:
            return
        start, end = offset, offset + size
        index = bisect_left(self._gaps, (start, end))
        before = self._gaps[index - 1] if index else None
        after = self._gaps[index] if index < len(self._gaps) else None
        if start < 0 or end > self.capacity or (before and before[1] > start) or (after and after[0] < end):
            raise ValueError(f"bytes {start} to {end} of {self.capacity} are not taken, or not all of them")
        first, last = index, index
        if before and before[1] == start:
            first, start = index - 1, before[0]
        if after and after[0] == end:
            last, end = index + 1, after[1]
        self._gaps[first:last] = [(start, end)]
        self.used -= size

    def largest_gap_without(self, fixed: Iterable[tuple[int, int]]) -> int:
        """The largest gap there would be if only the ranges ``fixed`` (offset, size) were taken."""
        return max(_gaps_between(fixed, self.capacity))


def _gaps_between(taken: Iterable[tuple[int, int]], capacity: int) -> Iterator[int]:
    reached = 0
    for offset, size in sorted(taken):
        yield offset - reached
        reached = offset + size
    yield capacity - reached
