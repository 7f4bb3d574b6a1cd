"""HTTP to other members: a pool of connections for each, and bodies that are handed on as they come.

Over the parser that uvicorn brings, instead of a client library: of a first token through the proxy aiohttp
took 1.8 ms where this takes 0.6, and it costs a quarter of a second of each start and 10 MiB in each engine.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping
from http import HTTPStatus
from typing import cast

import httptools

#: Servers close idle connections, uvicorn after 5 s. A request sent at that moment is lost: be earlier.
_KEEP_IDLE_S = 2.0
#: How long a connection may take to be made. Answers may take as long as they want.
_CONNECT_S = 5.0
#: What may wait to be read before the instance is made to wait, bytes.
_MOST_WAITING = 1 << 18


class Broken(Exception):
    """A connection ended before the answer did."""


class Unreached(Broken):
    """There was no connection: nothing of the request arrived."""


def described(error: BaseException) -> str:
    """Its message; some have none."""
    return str(error) or type(error).__name__


class Response:
    """An answer whose status is known. Read it to the end, or close it.

    Its connection may be serving another request already while the last of the body waits to be read here.
    """

    def __init__(self, connection: _Connection) -> None:
        self.status = 0
        #: Names in lower case.
        self.headers: list[tuple[bytes, bytes]] = []
        self._connection = connection
        self._is_complete = False
        self._failure: str | None = None
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._waiter: asyncio.Future[None] | None = None

    def header(self, name: bytes) -> str:
        """The value of one header; empty where there is none."""
        return next((value for known, value in self.headers if known == name), b"").decode("latin-1")

    async def read(self) -> bytes:
        """What has come since, at least a byte; empty at the end. Raises Broken."""
        while not self._waiting:
            if self._is_complete:
                return b""
            await self.more()
        content = self._waiting[0] if len(self._waiting) == 1 else b"".join(self._waiting)
        if self._waiting_bytes > _MOST_WAITING and not self._is_complete:
            self._connection.resume()
        self._waiting, self._waiting_bytes = [], 0
        return content

    async def read_all(self) -> bytes:
        """The whole body. Raises Broken."""
        parts = []
        while part := await self.read():
            parts.append(part)
        return b"".join(parts)

    def close(self) -> None:
        """No more of it is wanted; an instance takes that as an abort."""
        if not self._is_complete:
            self._connection.abort()

    async def more(self) -> None:
        """Wait until something happened to it. Raises Broken."""
        if self._failure is not None:
            raise Broken(self._failure)
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def began(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """The connection knows status and headers."""
        self.status, self.headers = status, headers
        self._wake()

    def came(self, content: bytes) -> bool:
        """Some of the body; whether it is enough for now."""
        self._waiting.append(content)
        self._waiting_bytes += len(content)
        self._wake()
        return self._waiting_bytes > _MOST_WAITING

    def ended(self, failure: str | None) -> None:
        """There is no more to come; ``failure`` says why if there should be."""
        self._is_complete = failure is None
        self._failure = failure
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Connections:
    """Keeps connections that are idle, by address."""

    def __init__(self) -> None:
        self._idle: defaultdict[str, list[_Connection]] = defaultdict(list)
        self._all: set[_Connection] = set()

    async def get(self, address: str, path: str, headers: Mapping[str, str], *, timeout_s: float) -> Response:
        """Raises Broken, also when the status takes longer than ``timeout_s``."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self.send("GET", address, path, headers, b"")
        except TimeoutError as error:
            raise Broken(f"no answer within {timeout_s:g} s") from error

    async def send(
        self, method: str, address: str, path: str, headers: Mapping[str, str], content: bytes
    ) -> Response:
        """The answer, as soon as its status and headers are there. A cancellation closes the connection.

        Raises Unreached and Broken.
        """
        connection = self._take(address) or await self._connect(address)
        response = connection.send(_head(method, address, path, headers, content) + content)
        try:
            while not response.status:
                await response.more()
        except BaseException:
            response.close()
            raise
        return response

    def close(self) -> None:
        """Close all of them."""
        for connection in tuple(self._all):
            connection.abort()

    def _take(self, address: str) -> _Connection | None:
        idle = self._idle[address]
        # The last one is the freshest.
        while idle:
            connection = idle.pop()
            if connection.is_open and time.monotonic() - connection.idle_since < _KEEP_IDLE_S:
                return connection
            connection.abort()
        return None

    async def _connect(self, address: str) -> _Connection:
        host, _, port = address.rpartition(":")
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_CONNECT_S):
                _, connection = await loop.create_connection(
                    lambda: _Connection(self, address), host.strip("[]"), int(port)
                )
        except OSError as error:  # a timeout is one
            raise Unreached(described(error)) from error
        return connection

    def opened(self, connection: _Connection) -> None:
        """It lives."""
        self._all.add(connection)

    def kept(self, connection: _Connection) -> None:
        """It has nothing to do."""
        self._idle[connection.address].append(connection)

    def lost(self, connection: _Connection) -> None:
        """It is gone."""
        self._all.discard(connection)
        idle = self._idle[connection.address]
        if connection in idle:
            idle.remove(connection)


class _Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self, owner: Connections, address: str) -> None:
        self.address = address
        self.idle_since = 0.0
        self.is_open = True
        self._owner = owner
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport
        self._headers: list[tuple[bytes, bytes]] = []
        self._response: Response | None = None

    def send(self, request: bytes) -> Response:
        """The response to come."""
        self._response = response = Response(self)
        self._transport.write(request)
        return response

    def resume(self) -> None:
        """Go on reading."""
        if self.is_open:
            self._transport.resume_reading()

    def abort(self) -> None:
        """Close it, whatever it is doing."""
        if self.is_open:
            self._transport.abort()

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self._transport = cast("asyncio.Transport", transport)
        self._owner.opened(self)

    def data_received(self, data: bytes) -> None:
        """Some of an answer."""
        if self._response is None:
            self.abort()  # nobody asked
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._end(f"what it answered is not HTTP: {described(error)}")
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed, by whomever."""
        self.is_open = False
        self._owner.lost(self)
        # A body without any length ends with its connection.
        if exc is None and self._response is not None and self._response.status and not self._has_length():
            self._end(None)
        self._end(described(exc) if exc else "the server closed the connection")

    # What the parser calls.

    def on_message_begin(self) -> None:
        """An answer begins."""
        self._headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """All of them. Those of answers like 100 Continue, which come before the answer, are not it."""
        status = self._parser.get_status_code()
        if self._response is not None and status >= HTTPStatus.OK:
            self._response.began(status, self._headers)

    def on_body(self, body: bytes) -> None:
        """Some of the body."""
        if self._response is not None and self._response.came(body):
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        """The end of the answer."""
        if self._response is None or not self._response.status:
            return
        self._end(None)
        if self._parser.should_keep_alive():
            self._transport.resume_reading()
            self.idle_since = time.monotonic()
            self._owner.kept(self)
        else:
            self._transport.close()

    def _has_length(self) -> bool:
        return any(name in (b"content-length", b"transfer-encoding") for name, _ in self._headers)

    def _end(self, failure: str | None) -> None:
        if self._response is not None:
            self._response.ended(failure)
            self._response = None


def _head(method: str, address: str, path: str, headers: Mapping[str, str], content: bytes) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {address}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if content:
        lines.append(f"Content-Length: {len(content)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
