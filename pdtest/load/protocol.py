"""The fast client: an asyncio Protocol on httptools, which takes the time before it does anything else.

What came is kept as it is; of each read only its HTTP framing is parsed while the load is on.
"""

from __future__ import annotations

import asyncio
import os
import time
from types import TracebackType
from typing import Self, cast
from urllib.parse import urlsplit

import httptools

from pdtest.load.answer import Answer

#: Servers close idle connections, uvicorn after 5 s. A request sent at that moment is lost: be earlier.
_KEEP_IDLE_S = 2.0
_CONNECT_S = 10.0
_HTTP = 80
_FIRST_REAL_STATUS = 200


class ProtocolClient:
    """Talks to one server over plain HTTP. See `pdtest.load.client.LoadClient`."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or _HTTP
        self.prefix = parts.path.rstrip("/")
        self.host_header = parts.netloc.rpartition("@")[2]
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()

    async def __aenter__(self) -> Self:
        """Nothing is opened before it is needed."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes all connections."""
        for connection in tuple(self._open):
            connection.abort()
        await asyncio.sleep(0)  # sockets close in the loop's next round

    async def line(self) -> _Connection:
        """An idle connection or a new one. Raises OSError."""
        # The last one is the freshest.
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open and time.monotonic() - connection.idle_since < _KEEP_IDLE_S:
                return connection
            connection.abort()
        return await self.connect()

    async def connect(self) -> _Connection:
        """A new connection. Raises OSError."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(_CONNECT_S):
            _, connection = await loop.create_connection(lambda: _Connection(self), self._host, self._port)
        return connection

    def opened(self, connection: _Connection) -> None:
        """It lives."""
        self._open.add(connection)

    def rested(self, connection: _Connection) -> None:
        """It has nothing to do."""
        self._idle.append(connection)

    def lost(self, connection: _Connection) -> None:
        """It is gone."""
        self._open.discard(connection)


class _Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self, owner: ProtocolClient) -> None:
        self.is_open = True
        self.idle_since = 0.0
        self._owner = owner
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport
        self._answer: Answer | None = None
        self._done: asyncio.Future[None] | None = None
        self._has_length = False
        self._at = 0.0
        self._read = 0

    async def post(self, path: str, headers: bytes, body: bytes, answer: Answer) -> None:
        """Send, and wait for the whole answer. See `pdtest.load.client.Line`."""
        if not self.is_open:  # the server closed it after it was taken
            try:
                other = await self._owner.connect()
            except OSError as error:
                answer.sent_at = answer.ended_at = time.monotonic()
                answer.error = _described(error)
                return
            await other.post(path, headers, body, answer)
            return
        head = (
            f"POST {self._owner.prefix}{path} HTTP/1.1\r\nHost: {self._owner.host_header}\r\n"
            f"Content-Length: {len(body)}\r\n"
        ).encode("latin-1")
        self._answer, self._read = answer, 0
        self._done = asyncio.get_running_loop().create_future()
        content = head + headers + b"\r\n" + body
        answer.sent_at = time.monotonic()
        self._transport.write(content[self._write_now(content) :])
        try:
            await self._done
        except asyncio.CancelledError:
            self._answer = None
            self.abort()
            raise

    def _write_now(self, content: bytes) -> int:
        """How much of it went out.

        uvloop's own write waits for the end of the loop's round: all of a burst would be sent when the last
        of it is ready. Nothing else waits to be written here.
        """
        try:
            return os.write(self._descriptor, content)
        except OSError:
            return 0  # full or broken: the transport's business

    def abort(self) -> None:
        """Close it, whatever it is doing."""
        if self.is_open:
            self._transport.abort()

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self._transport = cast("asyncio.Transport", transport)
        self._descriptor: int = transport.get_extra_info("socket").fileno()
        self._owner.opened(self)

    def data_received(self, data: bytes) -> None:
        """Some of an answer: first of all, when."""
        self._at = time.monotonic()
        self._read += 1
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._end(f"what the server sent is not HTTP: {_described(error)}")
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed, by whomever."""
        self.is_open = False
        self._owner.lost(self)
        answer = self._answer
        if answer is not None:
            self._at = time.monotonic()
            # A body without any length ends with its connection.
            complete = exc is None and answer.status is not None and not self._has_length
            self._end(None if complete else _described(exc) if exc else "the server closed the connection")

    # What the parser calls.

    def on_message_begin(self) -> None:
        """An answer begins."""
        self._has_length = False

    def on_header(self, name: bytes, value: bytes) -> None:  # noqa: ARG002 - the parser's signature
        """One header."""
        if name.lower() in (b"content-length", b"transfer-encoding"):
            self._has_length = True

    def on_headers_complete(self) -> None:
        """All of them. Those of 100 Continue and its like come before the answer."""
        status = self._parser.get_status_code()
        if self._answer is not None and status >= _FIRST_REAL_STATUS:
            self._answer.status = status

    def on_body(self, body: bytes) -> None:
        """Some of the body."""
        if self._answer is not None:
            self._answer.parts.append((self._at, self._read, body))

    def on_message_complete(self) -> None:
        """The end of the answer."""
        if self._answer is None or self._answer.status is None:
            return
        self._end(None)
        if self._parser.should_keep_alive():
            self.idle_since = self._at
            self._owner.rested(self)
        else:
            self._transport.close()

    def _end(self, error: str | None) -> None:
        if self._answer is None or self._done is None:
            return
        self._answer.error, self._answer.ended_at = error, self._at
        self._answer = None
        if not self._done.done():
            self._done.set_result(None)


def _described(error: BaseException) -> str:
    """Its message; some have none."""
    return str(error) or type(error).__name__
