"""A connector that a test scripts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from pdtest.embedded.connectors.connector import Handover, LoadFailed
from pdtest.embedded.engine.core import Core
from pdtest.embedded.engine.rank import Rank
from pdtest.embedded.engine.sequence import Sequence


@dataclass(kw_only=True)
class Scripted:
    """Promises ``promise(prompt, cached)`` tokens and takes their KV from ``source``, when ``gate`` is open.

    ``source``: an engine that has the prompt's KV in ``source_blocks`` of the sequence's parameters.
    """

    promise: Callable[[int, int], int] = lambda prompt, cached: prompt - cached
    source: Core | None = None
    failure: Exception | None = None
    arrives: int | None = None
    hold: bool = False
    params: dict[str, object] | None = None
    #: What the end of every answer has to wait for.
    saved: asyncio.Event | None = None
    rank: Rank | None = None
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    #: A load that was cancelled takes that long to be through.
    winding_down_s: float = 0.0
    calls: list[tuple[object, ...]] = field(default_factory=list)
    computed: list[tuple[str, int, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gate.set()

    def install(self, core: Core) -> None:
        """Be the connector of ``core``, before it starts."""
        core._connector = self
        self.rank = core.rank

    async def start(self) -> None:
        self.calls.append(("start",))

    async def close(self) -> None:
        self.calls.append(("close",))

    def queued(self, sequence: Sequence) -> None:
        self.calls.append(("queued", sequence.id))

    async def match(self, sequence: Sequence, cached: int) -> int:
        self.calls.append(("match", sequence.id, cached))
        if isinstance(self.failure, ValueError):
            raise self.failure
        return self.promise(len(sequence.prompt), cached)

    async def load(self, sequence: Sequence, cached: int, promised: int) -> None:
        self.calls.append(("load", sequence.id, cached, promised))
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            await asyncio.sleep(self.winding_down_s)
            self.calls.append(("cancelled", sequence.id))
            raise
        if self.failure is not None and self.arrives is None:
            raise self.failure
        self._copy(sequence, cached, promised if self.arrives is None else self.arrives)
        if self.failure is not None:
            assert self.arrives is not None
            raise LoadFailed("half of it", arrived=self.arrives)

    def _copy(self, sequence: Sequence, cached: int, tokens: int) -> None:
        assert self.source is not None
        assert self.rank is not None
        there = (sequence.kv_transfer_params or {})["source_blocks"]
        size = self.rank.block_size
        first, end = cached // size, -(-(cached + tokens) // size)
        for here, other in zip(self.rank.memories, self.source.rank.memories, strict=True):
            content = other.read(there[first:end], here.heads)
            here.write(sequence.blocks[first:end], here.heads, content)

    def layer_computed(self, sequence: Sequence, layer: int, start: int, end: int) -> None:
        self.computed.append((sequence.id, layer, start, end))

    def finished(self, sequence: Sequence) -> Handover:
        self.calls.append(("finished", sequence.id, sequence.finish, sequence.computed))
        waits = asyncio.ensure_future(self._saved(self.saved)) if self.saved else None
        return Handover(params=self.params, hold=self.hold, answer_after=waits)

    async def _saved(self, saved: asyncio.Event) -> None:
        await saved.wait()

    def of(self, name: str) -> list[tuple[object, ...]]:
        """Calls of one kind."""
        return [call for call in self.calls if call[0] == name]
