"""Instances that do what a test says, and remember what they were asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

PATIENCE_S = 10.0


@dataclass(kw_only=True)
class Seen:
    method: str
    path: str
    headers: dict[str, str]
    content: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.content)


@dataclass(kw_only=True, eq=False)
class Exchange:
    """One request and the connection to answer it on."""

    seen: Seen
    writer: asyncio.StreamWriter

    async def begin(self, status: int = 200, **headers: str) -> None:
        lines = [f"HTTP/1.1 {status} X", "transfer-encoding: chunked"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self._write(("\r\n".join(lines) + "\r\n\r\n").encode())

    async def chunk(self, content: bytes) -> None:
        await self._write(b"%x\r\n%s\r\n" % (len(content), content))

    async def end(self) -> None:
        await self._write(b"0\r\n\r\n")

    async def answer(self, status: int, body: Any, content_type: str = "application/json") -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = (
            f"HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\ncontent-length: {len(content)}\r\n\r\n"
        )
        await self._write(head.encode() + content)

    def die(self) -> None:
        """As a process that is killed: the connection is reset."""
        self.writer.transport.abort()

    async def _write(self, content: bytes) -> None:
        self.writer.write(content)
        await self.writer.drain()


Behaviour = Callable[[Exchange], Awaitable[None]]


@dataclass(kw_only=True, eq=False)
class Engine:
    """An instance. ``behaviour`` answers POST; ``gone`` counts requests whose sender hung up first."""

    behaviour: Behaviour
    address: str = ""
    seen: list[Seen] = field(default_factory=list)
    gone: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    others: dict[str, Any] = field(default_factory=dict)
    health: int = 200
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    @property
    def bodies(self) -> list[Any]:
        return [seen.body for seen in self.seen]

    async def start(self) -> None:
        port = self.port if self.address else 0
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        while self._tasks:  # again, since one that is just done with an answer swallows it
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks, timeout=0.1)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            while (seen := await _request(reader)) is not None:
                exchange = Exchange(seen=seen, writer=writer)
                if seen.method == "GET":
                    await self._get(exchange)
                elif not await self._post(exchange, reader):
                    return
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    async def _get(self, exchange: Exchange) -> None:
        if exchange.seen.path == "/health":
            await exchange.answer(self.health, {})
            return
        self.seen.append(exchange.seen)
        known = exchange.seen.path in self.others
        await exchange.answer(200 if known else 404, self.others.get(exchange.seen.path, {}))

    async def _post(self, exchange: Exchange, reader: asyncio.StreamReader) -> bool:
        self.seen.append(exchange.seen)
        self.arrived.set()
        answering = asyncio.ensure_future(self.behaviour(exchange))
        leaving = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                self.gone += 1
                self.left.set()
                return False
            await answering
            return not exchange.writer.transport.is_closing()
        finally:
            for one in (answering, leaving):
                one.cancel()
            with suppress(asyncio.CancelledError, ConnectionError):
                await asyncio.gather(answering, leaving, return_exceptions=True)


async def _request(reader: asyncio.StreamReader) -> Seen | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = head.decode("latin-1").strip().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    content = await reader.readexactly(int(headers.get("content-length", "0")))
    return Seen(method=method, path=path, headers=headers, content=content)


def event(text: str) -> bytes:
    chunk = {"choices": [{"index": 0, "text": text, "finish_reason": None}]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"

#: What a NIXL prefill answers; nobody in between may change it.
PARAMS = {
    "do_remote_prefill": True,
    "do_remote_decode": False,
    "remote_block_ids": [[1, 2, 3]],
    "remote_engine_id": "engine-1",
    "remote_request_id": "cmpl-x-0",
    "remote_host": "127.0.0.1",
    "remote_port": 5600,
    "tp_size": 1,
    "a_field_that_nobody_knows": {"deep": [1.5, None]},
}


def prefills(params: Any = PARAMS, *, prompt_tokens: int = 7) -> Behaviour:
    async def behave(exchange: Exchange) -> None:
        usage = {"prompt_tokens": prompt_tokens, "completion_tokens": 1}
        await exchange.answer(200, {"choices": [], "usage": usage, "kv_transfer_params": params})

    return behave


def answers(status: int, body: Any, content_type: str = "application/json") -> Behaviour:
    async def behave(exchange: Exchange) -> None:
        await exchange.answer(status, body, content_type)

    return behave


def streams(*texts: str) -> Behaviour:
    async def behave(exchange: Exchange) -> None:
        await exchange.begin(content_type="text/event-stream; charset=utf-8")
        for text in texts:
            await exchange.chunk(event(text))
        await exchange.chunk(DONE)
        await exchange.end()

    return behave


async def until(condition: Callable[[], Any]) -> None:
    """Polls, since what is waited for is a figure that nobody announces."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def never(exchange: Exchange) -> None:
    await asyncio.Event().wait()


async def dies(exchange: Exchange) -> None:
    exchange.die()
