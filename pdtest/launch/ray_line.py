"""A process on a node of a Ray cluster, over a bridge, as asyncio has processes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Self

from pdtest.launch.bridge import GONE, Bridge, Place, placed, start_order
from pdtest.launch.frames import next_frame

_HANG_UP_S: Final = 2.0


class Line:
    """``reader`` has what it says, ``writer`` is what it hears."""

    def __init__(self, place: Place, frames: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.place = place
        self.reader = asyncio.StreamReader()
        self.writer = writer
        self._end: Mapping[str, Any] = {}
        self._listening = asyncio.create_task(self._listen(frames))

    @classmethod
    async def open(cls, bridge: Bridge, wanted: Mapping[str, Any], who: str) -> Self:
        """Get a place. Raises HostError. ``who``: wants it, in words."""
        frames, writer = await asyncio.open_unix_connection(bridge.socket)
        try:
            writer.write(json.dumps(wanted).encode() + b"\n")
            try:
                _, answer = await next_frame(frames)
            except (EOFError, OSError):
                raise bridge.gone() from None
            return cls(placed(bridge, wanted, who, answer), frames, writer)
        except BaseException:
            writer.close()
            raise

    def run(self, argv: Sequence[str]) -> None:
        """Start it, once."""
        self.writer.write(start_order(argv))

    async def said(self) -> str:
        """On stderr, once it has ended."""
        await asyncio.shield(self._listening)
        return str(self._end.get("said") or self._end.get("lost") or "").strip()

    async def hang_up(self) -> None:
        """Its input is over: it ends. What it still has to say is waited for a little."""
        self.writer.close()
        await asyncio.wait({self._listening}, timeout=_HANG_UP_S)
        self._listening.cancel()
        with suppress(OSError):
            await self.writer.wait_closed()

    async def _listen(self, frames: asyncio.StreamReader) -> None:
        end = {"lost": GONE}
        with suppress(EOFError, OSError):
            kind, data = await next_frame(frames)
            while kind == b"o":
                self.reader.feed_data(data)
                kind, data = await next_frame(frames)
            end = json.loads(data)
        self._end = end
        if "lost" in end:
            self.reader.set_exception(ConnectionError(end["lost"]))
        else:
            self.reader.feed_eof()
