"""What prefill is to send, by transfer id. Either leg may come first."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

#: How many transfers are remembered once they are over, so that who comes late need not wait in vain.
_REMEMBERED = 1024


class NotSent(Exception):
    """A transfer that will not be; the message says why."""


@dataclass(kw_only=True)
class _Transfer:
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    sequence_id: str | None = None
    blocks: Sequence[int] = ()
    waiting: int = 0


class Transfers:
    """Prefill's side: announced by its own leg or by decode's, ready when the prompt is computed."""

    def __init__(self) -> None:
        self._open: dict[str, _Transfer] = {}
        self._over: dict[str, str] = {}

    def announce(self, transfer_id: str) -> None:
        """The prompt will be computed."""
        if transfer_id not in self._over:
            self._open.setdefault(transfer_id, _Transfer())

    def ready(self, transfer_id: str, sequence_id: str, blocks: Sequence[int]) -> bool:
        """The prompt is computed. False when it is not wanted any more."""
        if transfer_id in self._over:
            return False
        transfer = self._open.setdefault(transfer_id, _Transfer())
        transfer.sequence_id, transfer.blocks = sequence_id, blocks
        transfer.settled.set()
        return True

    def end(self, transfer_id: str, reason: str) -> str | None:
        """Nothing is to be sent (any more); who waits hears the reason. The sequence that was held for it."""
        if transfer_id in self._over:
            return None
        self._over[transfer_id] = reason
        while len(self._over) > _REMEMBERED:
            del self._over[next(iter(self._over))]
        transfer = self._open.pop(transfer_id, None)
        if transfer is None:
            return None
        held, transfer.sequence_id = transfer.sequence_id, None
        transfer.settled.set()
        return held

    async def wait(self, transfer_id: str, *, timeout_s: float) -> tuple[str, Sequence[int]]:
        """The sequence and its blocks, once they are computed. Raises NotSent."""
        if transfer_id in self._over:
            raise NotSent(f"{transfer_id}: {self._over[transfer_id]}")
        transfer = self._open.setdefault(transfer_id, _Transfer())
        transfer.waiting += 1
        try:
            async with asyncio.timeout(timeout_s):
                await transfer.settled.wait()
        except TimeoutError as error:
            raise NotSent(f"{transfer_id}: prefill had nothing for {timeout_s:g} s") from error
        finally:
            transfer.waiting -= 1
            if not transfer.waiting and not transfer.settled.is_set():
                # Announced by decode alone, or not: prefill announces it anew when its prompt is computed.
                self._open.pop(transfer_id, None)
        if transfer.sequence_id is None:
            raise NotSent(f"{transfer_id}: {self._over.get(transfer_id, 'it is over')}")
        return transfer.sequence_id, transfer.blocks
