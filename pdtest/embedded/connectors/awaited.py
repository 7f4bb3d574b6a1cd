"""What peers hold for sequences of this engine, kept alive until all who need it have it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from pdtest.embedded.connectors.background import Background
from pdtest.embedded.connectors.peers import Address


@dataclass(frozen=True, kw_only=True)
class Held:
    """Blocks that a peer holds: ``remote_id`` is its own name for the sequence they belong to."""

    address: Address
    remote_id: str


@dataclass(kw_only=True)
class _Choices:
    """All choices of one request that wait for the same blocks."""

    held: Held
    waiting: set[str] = field(default_factory=set)
    failed: bool = False


class Awaited:
    """Counts the choices that still need what a peer holds, and speaks to the peer.

    ``over`` is called when the last choice has what it needs, or will not need it any more. It is not
    called when a choice failed to fetch it: the peer then holds the blocks until the lease ends, as vLLM's
    does. ``alive`` is called every ``heartbeat_s`` with all that is waited for at one peer; None: never.
    """

    def __init__(
        self,
        *,
        over: Callable[[Held], Awaitable[None]],
        alive: Callable[[Address, Sequence[str]], Awaitable[None]],
        heartbeat_s: float | None,
    ) -> None:
        self._over = over
        self._alive = alive
        self._heartbeat_s = heartbeat_s
        self._groups: dict[tuple[str, Held], _Choices] = {}
        self._group_of: dict[str, tuple[str, Held]] = {}
        self._settled: set[str] = set()
        self._background = Background()
        self._beating = False

    def add(self, sequence_id: str, request_id: str, held: Held) -> None:
        """A choice of request ``request_id`` needs ``held``. Saying it again changes nothing."""
        if sequence_id in self._group_of or sequence_id in self._settled:
            return
        key = (request_id, held)
        self._group_of[sequence_id] = key
        self._groups.setdefault(key, _Choices(held=held)).waiting.add(sequence_id)
        if not self._beating and self._heartbeat_s is not None:
            self._beating = True
            self._background.start(self._beat(self._heartbeat_s))

    def settle(self, sequence_id: str, *, failed: bool = False) -> None:
        """The choice has what it needs, or does not need it any more. Saying it again changes nothing."""
        key = self._group_of.pop(sequence_id, None)
        if key is None:
            return
        self._settled.add(sequence_id)
        group = self._groups[key]
        group.waiting.discard(sequence_id)
        group.failed |= failed
        if not group.waiting:
            del self._groups[key]
            if not group.failed:
                self._background.start(_run(self._over(group.held)))

    def forget(self, sequence_id: str) -> bool:
        """The sequence ended. False when it was never added."""
        self.settle(sequence_id)
        known = sequence_id in self._settled
        self._settled.discard(sequence_id)
        return known

    async def close(self) -> None:
        """Stop speaking to peers."""
        await self._background.close()

    async def _beat(self, every_s: float) -> None:
        while self._groups:
            by_address: defaultdict[Address, list[str]] = defaultdict(list)
            for group in self._groups.values():
                by_address[group.held.address].append(group.held.remote_id)
            for address, remote_ids in by_address.items():
                self._background.start(_run(self._alive(address, remote_ids)))
            await asyncio.sleep(every_s)
        self._beating = False


async def _run(call: Awaitable[None]) -> None:
    await call
