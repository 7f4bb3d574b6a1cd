"""KV that peers send, kept until the sequences that it is for have taken it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pdtest.embedded.connectors.connector import Host
from pdtest.embedded.model.memory import Heads


class NotTaken(Exception):
    """KV that cannot be kept."""


class NotArrived(Exception):
    """KV that was waited for in vain; the message says what is missing."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One layer of some of a prompt's blocks, of heads that tensor-parallel rank ``rank`` owns.

    ``first_block``: its place in the prompt. ``content``: as `KVMemory.read` gives it for one layer.
    """

    rank: int
    layer: int
    first_block: int
    blocks: int
    heads: Heads
    content: bytes = field(repr=False)

    @property
    def place(self) -> tuple[int, int, int]:
        """The same for what is sent twice."""
        return self.layer, self.first_block, self.heads.first


@dataclass(kw_only=True)
class _Parcel:
    """All that came for one request, and who is to take it."""

    pieces: dict[tuple[int, int, int], Piece] = field(default_factory=dict)
    #: Heads that are there, by layer and block.
    heads: defaultdict[tuple[int, int], int] = field(default_factory=lambda: defaultdict(int))
    takers: set[str] = field(default_factory=set)
    failure: str | None = None
    news: asyncio.Event = field(default_factory=asyncio.Event)
    expiry: asyncio.TimerHandle | None = None

    @property
    def size(self) -> int:
        return sum(len(piece.content) for piece in self.pieces.values())


class Arrivals:
    """Parcels by the request's name.

    A parcel that nobody has claimed goes after ``keep_s`` seconds, or when the room of ``limit_bytes`` is
    needed for another; one that is claimed stays until all who claimed it are done.
    """

    def __init__(self, host: Host, *, limit_bytes: int, keep_s: float) -> None:
        self._host = host
        self._limit_bytes = limit_bytes
        self._keep_s = keep_s
        self._parcels: dict[str, _Parcel] = {}
        #: Bytes of all that is kept.
        self.kept = 0

    def claim(self, name: str, taker: str) -> None:
        """``taker`` will want what comes under ``name``."""
        parcel = self._parcel(name)
        parcel.takers.add(taker)
        if parcel.expiry is not None:
            parcel.expiry.cancel()
            parcel.expiry = None

    def done(self, name: str, taker: str) -> None:
        """``taker`` has it, or does not want it any more."""
        parcel = self._parcels.get(name)
        if parcel is None or taker not in parcel.takers:
            return
        parcel.takers.discard(taker)
        if not parcel.takers:
            self._drop(name)

    def put(self, name: str, piece: Piece) -> None:
        """Keep ``piece``. Raises NotTaken."""
        room = self._limit_bytes - len(piece.content)
        for other in self._unclaimed(but=name):
            if self.kept <= room:
                break
            self._drop(other)
        if self.kept > room:
            raise NotTaken(f"{name}: no room for {len(piece.content)} bytes, {self.kept} are kept")
        parcel = self._parcel(name)
        former = parcel.pieces.get(piece.place)
        self.kept += len(piece.content) - (len(former.content) if former else 0)
        if former is None:
            for block in range(piece.first_block, piece.first_block + piece.blocks):
                parcel.heads[piece.layer, block] += piece.heads.count
        parcel.pieces[piece.place] = piece
        parcel.news.set()

    def fail(self, name: str, reason: str) -> None:
        """Nothing more will come under ``name``; who waits for it hears why."""
        parcel = self._parcels.get(name)
        if parcel is not None:
            parcel.failure = reason
            parcel.news.set()

    async def wait(self, name: str, first: int, end: int, *, timeout_s: float) -> None:
        """Until all of the prompt's blocks ``first`` to ``end - 1`` are there. Raises NotArrived."""
        parcel = self._parcel(name)
        try:
            async with asyncio.timeout(timeout_s):
                while missing := self._missing(parcel, first, end):
                    if parcel.failure is not None:
                        raise NotArrived(parcel.failure)
                    parcel.news.clear()
                    await parcel.news.wait()
        except TimeoutError as error:
            raise NotArrived(f"after {timeout_s:g} s {missing} had not come") from error

    def take(self, name: str, blocks: Sequence[int], first: int, end: int) -> None:
        """Write blocks ``first`` to ``end - 1`` of the prompt; ``blocks`` are those of the whole prompt.

        Raises ValueError when a piece has not the size that it should have.
        """
        for piece in self._parcel(name).pieces.values():
            start, stop = max(piece.first_block, first), min(piece.first_block + piece.blocks, end)
            if start < stop:
                inside = range(start - piece.first_block, stop - piece.first_block)
                self._write(piece, blocks[start:stop], inside)

    def close(self) -> None:
        """Forget all."""
        for name in tuple(self._parcels):
            self._drop(name)

    def _write(self, piece: Piece, blocks: Sequence[int], inside: range) -> None:
        """``inside``: which of the piece's blocks."""
        memory = self._host.memories[piece.rank]
        layer = slice(piece.layer, piece.layer + 1)
        # K of all blocks, then V of all blocks.
        each = len(piece.content) // (2 * piece.blocks)
        view = memoryview(piece.content)
        content = b"".join(
            view[(half * piece.blocks + block) * each :][:each] for half in range(2) for block in inside
        )
        memory.write(blocks, piece.heads, content, layers=layer)

    def _missing(self, parcel: _Parcel, first: int, end: int) -> str:
        config = self._host.config
        missing = [
            (layer, block)
            for layer in range(config.layers)
            for block in range(first, end)
            if parcel.heads.get((layer, block), 0) < config.kv_heads
        ]
        return _described(missing, config.layers * (end - first))

    def _parcel(self, name: str) -> _Parcel:
        parcel = self._parcels.get(name)
        if parcel is None:
            parcel = self._parcels[name] = _Parcel()
            parcel.expiry = asyncio.get_running_loop().call_later(self._keep_s, self._drop, name)
        return parcel

    def _unclaimed(self, *, but: str) -> Iterable[str]:
        """Oldest first."""
        return [name for name, parcel in self._parcels.items() if not parcel.takers and name != but]

    def _drop(self, name: str) -> None:
        parcel = self._parcels.pop(name, None)
        if parcel is None:
            return
        self.kept -= parcel.size
        if parcel.expiry is not None:
            parcel.expiry.cancel()


def _described(missing: Sequence[tuple[int, int]], total: int) -> str:
    if not missing:
        return ""
    layer, block = missing[0]
    return f"{len(missing)} of {total} blocks of layers, the first is block {block} of layer {layer},"
