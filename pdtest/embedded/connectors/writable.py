"""Blocks that peers may write into, as long as the sequence waits for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pdtest.embedded.model.memory import Heads, KVMemory


class NotWritable(Exception):
    """A peer wants to write into blocks that the sequence does not wait for."""


class Writable:
    """Writes by peers, each under the name of a sequence that waits for it.

    Unlike with RDMA, blocks that are not open cannot be written: they may be another's by now.
    """

    def __init__(self, memories: Sequence[KVMemory]) -> None:
        self._memories = memories
        self._open: dict[str, frozenset[int]] = {}

    @contextmanager
    def open(self, name: str, blocks: Sequence[int]) -> Iterator[None]:
        """Let ``blocks`` be written under ``name``."""
        self._open[name] = frozenset(blocks)
        try:
            yield
        finally:
            del self._open[name]

    def write(self, name: str, rank: int, blocks: Sequence[int], heads: Heads, content: bytes) -> bool:
        """Put ``content`` (all layers) into ``blocks`` of ``rank``.

        False, and nothing is written, when ``name`` does not wait any more. Raises NotWritable, ValueError.
        """
        opened = self._open.get(name)
        if opened is None:
            return False
        if not opened.issuperset(blocks):
            raise NotWritable(f"{name} waits for blocks {sorted(opened)}, not for {list(blocks)}")
        self._memories[rank].write(blocks, heads, content)
        return True
