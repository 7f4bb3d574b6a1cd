"""Blocks that are held for a peer, and until when."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(kw_only=True)
class _Lease:
    ends_at: float
    timer: asyncio.TimerHandle | None = None
    readers: int = 0
    #: Consumed: the blocks go when the last reader has.
    consumed: bool = False
    #: Notifications so far, by the tensor-parallel rank of ours that they came to.
    notified: Counter[int] = field(default_factory=Counter)
    complete: set[int] = field(default_factory=set)


class Leases:
    """Which sequences' blocks are held, until a peer has consumed them or their time is over.

    Nothing is let go while a transfer of it is under way: its end counts as a sign of life. ``extension_s``
    is what a sign of life adds, counted from now; it never shortens a lease (vLLM 0.32, nixl/base_worker.py:
    two thirds of the lease).
    """

    def __init__(
        self,
        *,
        duration_s: float,
        extension_s: float,
        ranks: int,
        release: Callable[[str], None],
        expired: Callable[[str], None],
    ) -> None:
        self._duration_s = duration_s
        self._extension_s = extension_s
        self._ranks = ranks
        self._release = release
        self._expired = expired
        self._held: dict[str, _Lease] = {}

    def __contains__(self, sequence_id: object) -> bool:
        return sequence_id in self._held

    def hold(self, sequence_id: str) -> None:
        """From now on, for the full duration."""
        lease = _Lease(ends_at=_now() + self._duration_s)
        self._held[sequence_id] = lease
        self._arm(sequence_id, lease)

    def renew(self, sequence_ids: Iterable[str]) -> None:
        """A sign of life of those who wait for these."""
        for sequence_id in sequence_ids:
            lease = self._held.get(sequence_id)
            if lease is not None:
                lease.ends_at = max(lease.ends_at, _now() + self._extension_s)

    @contextmanager
    def reading(self, sequence_id: str) -> Iterator[None]:
        """While a transfer of these blocks is under way. Blocks that nobody holds are read all the same."""
        lease = self._held.get(sequence_id)
        if lease is None:
            yield
            return
        lease.readers += 1
        try:
            yield
        finally:
            lease.readers -= 1
            lease.ends_at = max(lease.ends_at, _now() + self._extension_s)
            if lease.consumed and not lease.readers:
                self._let_go(sequence_id)

    def notify(self, sequence_id: str, *, rank: int, consumers: int) -> bool:
        """One of the peer's ranks has all it needs of rank ``rank``. False when nothing is held by that name.

        ``consumers``: how many of its ranks will say so. Each of our ranks is told, and the blocks go when
        all of them were told by all.
        """
        lease = self._held.get(sequence_id)
        if lease is None:
            return False
        lease.notified[rank] += 1
        if lease.notified[rank] >= consumers:
            lease.complete.add(rank)
        if len(lease.complete) == self._ranks:
            self.consume(sequence_id)
        return True

    def consume(self, sequence_id: str) -> None:
        """The peer has everything."""
        lease = self._held.get(sequence_id)
        if lease is None:
            return
        lease.consumed = True
        if not lease.readers:
            self._let_go(sequence_id)

    def close(self) -> None:
        """Forget all, releasing nothing: the engine ends."""
        for lease in self._held.values():
            if lease.timer is not None:
                lease.timer.cancel()
        self._held.clear()

    def _arm(self, sequence_id: str, lease: _Lease) -> None:
        lease.timer = asyncio.get_running_loop().call_at(lease.ends_at, self._look, sequence_id, lease)

    def _look(self, sequence_id: str, lease: _Lease) -> None:
        """The time that was set is over; it may have been prolonged since."""
        if lease.readers:
            lease.ends_at = max(lease.ends_at, _now() + self._extension_s)
        if lease.ends_at > _now():
            self._arm(sequence_id, lease)
            return
        self._let_go(sequence_id)
        self._expired(sequence_id)

    def _let_go(self, sequence_id: str) -> None:
        lease = self._held.pop(sequence_id)
        if lease.timer is not None:
            lease.timer.cancel()
        self._release(sequence_id)


def _now() -> float:
    return asyncio.get_running_loop().time()
