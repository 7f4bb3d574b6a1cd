"""Messages between engines, and between an engine and the store: msgpack in frames over TCP.

A frame is a length (4 bytes, big endian) and a msgpack value. Requests and answers alternate per number:
``[number, method, arguments]`` is answered by ``[number, error or nil, result]``, in any order. Bulk data
(KV) travels as msgpack binary.
"""

from __future__ import annotations

import asyncio
import itertools
import struct
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import msgpack

#: Answers a request. What it raises reaches the caller as RemoteError.
Handler = Callable[[Mapping[str, Any]], Awaitable[Any]]

_LENGTH = struct.Struct(">I")
_LARGEST = 1 << 30
#: Number, method or error, arguments or result.
_PARTS = 3


class RemoteError(Exception):
    """The other side answered with an error."""


class ChannelServer:
    """Answers requests by method name. Several may be under way on one connection."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = handlers
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises OSError when the port is taken."""
        self._server = await asyncio.start_server(self._serve, host, port)

    @property
    def port(self) -> int:
        """Where it listens; useful when it was started with port 0."""
        assert self._server is not None  # noqa: S101
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Close the port and all connections."""
        if self._server is not None:
            self._server.close()
        for connection in tuple(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101
        self._connections.add(task)
        answering: set[asyncio.Task[None]] = set()
        try:
            while (frame := await _read(reader)) is not None:
                number, method, arguments = frame
                one = asyncio.create_task(self._answer(writer, number, method, arguments))
                answering.add(one)
                one.add_done_callback(answering.discard)
        except asyncio.CancelledError:
            pass  # the server closes; a connection has nobody to tell
        finally:
            self._connections.discard(task)
            for one in answering:
                one.cancel()
            writer.close()

    async def _answer(
        self, writer: asyncio.StreamWriter, number: int, method: str, arguments: Mapping[str, Any]
    ) -> None:
        error, result = None, None
        try:
            handler = self._handlers.get(method)
            if handler is None:
                error = f"there is no method {method!r}"
            else:
                result = await handler(arguments)
        except Exception as problem:  # noqa: BLE001 - whatever it is, the caller must know
            error = f"{type(problem).__name__}: {problem}"
        with suppress(ConnectionError):
            _write(writer, [number, error, result])
            await writer.drain()


class Channel:
    """A connection to a `ChannelServer`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._listener = asyncio.create_task(self._listen(reader))

    @classmethod
    async def connect(cls, host: str, port: int) -> Channel:
        """Raises OSError."""
        return cls(*await asyncio.open_connection(host, port, limit=1 << 22))

    @property
    def is_open(self) -> bool:
        """False once the other side has gone."""
        return not self._listener.done()

    async def wait_closed(self) -> None:
        """Returns once the other side has gone, or `close` was called."""
        await asyncio.wait([self._listener])

    async def call(self, method: str, **arguments: Any) -> Any:
        """The other side's result. Raises RemoteError, and ConnectionError when it goes away."""
        if not self.is_open:
            raise ConnectionResetError("the peer closed the connection")
        number = next(self._numbers)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            _write(self._writer, [number, method, arguments])
            await self._writer.drain()
            return await answer
        finally:
            self._waiting.pop(number, None)

    async def close(self) -> None:
        """End it; calls under way raise ConnectionError."""
        self._listener.cancel()
        await asyncio.gather(self._listener, return_exceptions=True)

    def hang_up(self) -> None:
        """`close`, without waiting for the end."""
        self._listener.cancel()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        try:
            while (frame := await _read(reader)) is not None:
                number, error, result = frame
                waiting = self._waiting.get(number)
                if waiting is None or waiting.done():
                    continue
                if error is None:
                    waiting.set_result(result)
                else:
                    waiting.set_exception(RemoteError(error))
        finally:
            self._writer.close()
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(ConnectionResetError("the peer closed the connection"))


async def _read(reader: asyncio.StreamReader) -> Any:
    """The next frame; None when the other side has closed, in mid-frame too, or speaks something else."""
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        if length > _LARGEST:
            return None
        frame = msgpack.unpackb(await reader.readexactly(length), strict_map_key=False)
    except (asyncio.IncompleteReadError, OSError, ValueError):
        return None
    return frame if isinstance(frame, list) and len(frame) == _PARTS else None


def _write(writer: asyncio.StreamWriter, frame: list[Any]) -> None:
    content = msgpack.packb(frame)
    writer.writelines((_LENGTH.pack(len(content)), content))
