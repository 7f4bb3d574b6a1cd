"""One direction of one connection: what comes in on one socket goes out on the other when it is due."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from pdtest.links.condition import Line

#: Bytes that may be on their way before the sender is made to wait.
_MOST_UNDERWAY = 1 << 20


class Lane:
    """Has its ends by `come_from` and `go_to`. ``ended`` is called when the last byte has gone out."""

    def __init__(self, ended: Callable[[], None]) -> None:
        self._ended = ended
        self._line = Line()
        self._source: asyncio.Transport | None = None
        self._sink: asyncio.Transport | None = None
        #: When each piece is due, and the piece. An empty one: nothing more comes.
        self._queue: deque[tuple[float, bytes]] = deque()
        self._underway = 0
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._sink_is_full = False
        self._source_waits = False
        self.has_ended = False

    def come_from(self, source: asyncio.Transport) -> None:
        """Where the bytes are read."""
        self._source = source
        self._mind_the_flow()

    def go_to(self, sink: asyncio.Transport) -> None:
        """Where they are written."""
        self._sink = sink
        self.pump()

    def become(self, line: Line) -> None:
        """It is another kind of line from now on. One that is plain again delivers all it has at once."""
        self._line = line
        if line.is_plain:
            self._due = 0.0
            self._queue = deque((0.0, piece) for _, piece in self._queue)
        self.pump()

    def take(self, data: bytes) -> None:
        """Bytes came in; none at all: the sender has nothing more to say."""
        sink = self._sink
        if data and sink is not None and self._line.is_plain and not self._queue:
            sink.write(data)
            return
        self._put(data)
        self.pump()

    def pump(self) -> None:
        """Send what is due, and come again for the rest."""
        self._forget_timer()
        if self._sink is None or self._line.is_cut:
            return
        loop = asyncio.get_running_loop()
        while self._queue and self._queue[0][0] <= loop.time():
            _, piece = self._queue.popleft()
            self._underway -= len(piece)
            self._send(piece)
        self._mind_the_flow()
        if self._queue:
            self._timer = loop.call_at(self._queue[0][0], self.pump)

    def fill(self, *, is_full: bool) -> None:
        """Whether the program at the end reads more slowly than bytes come."""
        self._sink_is_full = is_full
        self._mind_the_flow()

    def close(self) -> None:
        """Nothing is sent any more."""
        self._forget_timer()
        self._queue.clear()
        self._source = self._sink = None

    def _put(self, data: bytes) -> None:
        line = self._line
        size = line.slice_bytes or len(data) or 1
        latency = line.latency_s + random.uniform(0, line.jitter_s)  # noqa: S311 - chance, not a secret
        due = max(self._due, asyncio.get_running_loop().time() + latency)  # bytes stay in order
        for start in range(0, len(data) or 1, size):
            piece = data[start : start + size]
            self._queue.append((due, piece))
            self._underway += len(piece)
            # The next one comes when this one is through and the line has paused.
            due += line.pause_s + (len(piece) / line.bytes_per_s if line.bytes_per_s else 0.0)
        self._due = due
        self._mind_the_flow()

    def _send(self, piece: bytes) -> None:
        assert self._sink is not None  # noqa: S101 - `pump` looked
        if piece:
            self._sink.write(piece)
            return
        with suppress(OSError):  # it has gone meanwhile, and hears no end
            self._sink.write_eof()
        self.has_ended = True
        self._ended()

    def _mind_the_flow(self) -> None:
        wait = self._sink_is_full or self._underway > _MOST_UNDERWAY
        if self._source is None or wait == self._source_waits or self._source.is_closing():
            return
        self._source_waits = wait
        if wait:
            self._source.pause_reading()
        else:
            self._source.resume_reading()

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
