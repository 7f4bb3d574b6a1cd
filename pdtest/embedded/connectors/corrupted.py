"""A planted bug: whatever connector brings KV, it is wrong when it arrives.

The one place where what all connectors bring passes: when `load` is through, before anything is computed.
"""

from __future__ import annotations

import numpy as np

from pdtest.embedded.connectors.connector import Connector, Handover, Host
from pdtest.embedded.connectors.corruptions import Corruption
from pdtest.embedded.engine.sequence import Sequence as EngineSequence
from pdtest.embedded.model.memory import Array
from pdtest.embedded.switch import Switch, is_file


class CorruptedConnector:
    """``inner``, with what it loads changed as ``how`` says: a `Corruption`'s text, or @ and a file with one.

    The file is read at each load, so that it can be changed while the engine runs; absent or empty, it is
    healthy. Raises BadCorruption.
    """

    def __init__(self, inner: Connector, host: Host, how: str) -> None:
        self._inner = inner
        self._host = host
        self._switch = Switch(how)
        self._text = "" if is_file(how) else how
        self._corruption = Corruption.read(how) if self._text else None
        self._loads = 0

    async def start(self) -> None:
        """Start it."""
        await self._inner.start()

    async def close(self) -> None:
        """Close it."""
        await self._inner.close()

    def queued(self, sequence: EngineSequence) -> None:
        """Handed on."""
        self._inner.queued(sequence)

    async def match(self, sequence: EngineSequence, cached: int) -> int:
        """Handed on."""
        return await self._inner.match(sequence, cached)

    async def load(self, sequence: EngineSequence, cached: int, promised: int) -> None:
        """Handed on, and spoiled. Raises LoadFailed, and BadCorruption for what the file says."""
        corruption = self._current() if promised else None
        size = self._host.block_size
        blocks = sequence.blocks[cached // size : -(-(cached + promised) // size)]
        before = self._read(blocks) if corruption else None
        await self._inner.load(sequence, cached, promised)
        if corruption is None or before is None:
            return
        self._loads += 1
        if self._loads > corruption.after:
            self._write(blocks, corruption.apply(self._read(blocks), before))

    def layer_computed(self, sequence: EngineSequence, layer: int, start: int, end: int) -> None:
        """Handed on."""
        self._inner.layer_computed(sequence, layer, start, end)

    def finished(self, sequence: EngineSequence) -> Handover:
        """Handed on."""
        return self._inner.finished(sequence)

    def _current(self) -> Corruption | None:
        text = self._switch.read()
        if text != self._text:
            self._text, self._loads = text, 0
            self._corruption = Corruption.read(text) if text else None
        return self._corruption

    def _read(self, blocks: list[int]) -> Array:
        return np.concatenate([memory.kv[:, :, blocks] for memory in self._host.memories], axis=4)

    def _write(self, blocks: list[int], content: Array) -> None:
        for memory in self._host.memories:
            memory.kv[:, :, blocks] = content[..., memory.heads.first : memory.heads.end, :]
