"""A process's share of the pool's memory, which others read and write like remote memory."""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Mapping
from typing import Any

from pdtest.embedded.channel import Handler
from pdtest.embedded.store.errors import StoreError


class Segment:
    """Bytes by offset. Who wrote what where is the meta process's business.

    ``name`` is what the meta process called it when it was registered: asked for by an older name, it
    refuses, because then what the asker knows of its content is void. The system hands out the memory page
    by page as it is written.
    """

    def __init__(self, capacity: int, *, name: str = "") -> None:
        self.name = name
        self.capacity = capacity
        # Not a bytearray: that writes its zeros, and the process has all of it resident at once.
        self._memory = mmap.mmap(-1, max(capacity, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._fenced: set[int] = set()

    def rename(self, name: str) -> None:
        """Registered anew: whatever it holds belongs to nobody."""
        self.name = name
        self._fenced.clear()

    def read(self, name: str, offset: int, size: int) -> bytes:
        """Raises StoreError out of bounds, and for an older name."""
        self._check(name, offset, size)
        return self._memory[offset : offset + size]

    def write(self, name: str, ticket: int, offset: int, content: bytes) -> None:
        """Raises as `read`, and StoreError for a put that was called off."""
        if ticket in self._fenced:
            raise StoreError(f"put {ticket} was called off before its bytes came")
        self._check(name, offset, len(content))
        self._memory[offset : offset + len(content)] = content

    def fence(self, name: str, tickets: Iterable[int]) -> None:
        """From now on nothing of these puts is written. Raises StoreError for an older name."""
        self._check(name, 0, 0)
        self._fenced.update(tickets)

    def handlers(self) -> dict[str, Handler]:
        """What a channel server answers for it, to whoever may use its memory."""
        return {"read": self._on_read, "write": self._on_write}

    def owner_handlers(self) -> dict[str, Handler]:
        """What it answers to the meta process besides."""
        return {"enrol": self._on_enrol, "fence": self._on_fence}

    async def _on_read(self, asked: Mapping[str, Any]) -> bytes:
        return self.read(asked["segment"], asked["offset"], asked["size"])

    async def _on_write(self, asked: Mapping[str, Any]) -> None:
        self.write(asked["segment"], asked["ticket"], asked["offset"], asked["content"])

    async def _on_enrol(self, asked: Mapping[str, Any]) -> None:
        self.rename(asked["segment"])

    async def _on_fence(self, asked: Mapping[str, Any]) -> None:
        self.fence(asked["segment"], asked["tickets"])

    def _check(self, name: str, offset: int, size: int) -> None:
        if name != self.name:
            raise StoreError(f"this is segment {self.name!r}, no longer {name!r}")
        if offset < 0 or size < 0 or offset + size > self.capacity:
            raise StoreError(f"bytes {offset} to {offset + size} are not in a segment of {self.capacity}")
