from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
import uvicorn

from pdtest.embedded.proxy.instances import Side
from pdtest.embedded.proxy.proxy import Proxy, opened
from pdtest.embedded.proxy.server import server_for
from pdtest.embedded.proxy.settings import Settings

from .doubles import PATIENCE_S, Behaviour, Engine, prefills, streams, until


@dataclass(kw_only=True)
class Answer:
    status: int
    headers: dict[str, str]
    content: bytes


@dataclass(kw_only=True, eq=False)
class Deployment:
    """A running proxy, its doubles, and a client."""

    proxy: Proxy
    url: str
    client: aiohttp.ClientSession
    prefills: list[Engine]
    decodes: list[Engine]
    hybrids: list[Engine]

    @property
    def prefill(self) -> Engine:
        return self.prefills[0]

    @property
    def decode(self) -> Engine:
        return self.decodes[0]

    async def post(
        self, body: Any, path: str = "/v1/completions", headers: dict[str, str] | None = None
    ) -> Answer:
        options: dict[str, Any] = {"data": body} if isinstance(body, bytes) else {"json": body}
        async with asyncio.timeout(PATIENCE_S):
            async with self.client.post(self.url + path, headers=headers, **options) as answer:
                content = await answer.read()
        named = {name.lower(): value for name, value in answer.headers.items()}
        return Answer(status=answer.status, headers=named, content=content)

    async def get(self, path: str) -> tuple[int, Any]:
        async with asyncio.timeout(PATIENCE_S), self.client.get(self.url + path) as answer:
            return answer.status, await answer.json()

    @property
    def hybrid(self) -> Engine:
        return self.hybrids[0]

    async def until_in(self, prefills: int, decodes: int, hybrids: int = 0) -> None:
        await until(lambda: tuple(self._in(side) for side in Side) == (prefills, decodes, hybrids))

    def _in(self, side: Side) -> int:
        return len(self.proxy.pool.usable(side))


@dataclass(eq=False)
class Workshop:
    """Starts what a test needs, and ends it after the test."""

    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def engine(self, behaviour: Behaviour) -> Engine:
        engine = Engine(behaviour=behaviour)
        await engine.start()
        self.stack.push_async_callback(engine.stop)
        return engine

    async def deploy(
        self,
        prefill: Behaviour | Sequence[Behaviour] | None = None,
        decode: Behaviour | Sequence[Behaviour] | None = None,
        hybrid: Behaviour | Sequence[Behaviour] = (),
        *,
        wait: bool = True,
        lists: bool = True,
        **settings: Any,
    ) -> Deployment:
        """Doubles for all sides, and a proxy over them. Bootstrap servers are the prefills themselves."""
        first = [await self.engine(one) for one in _list(prefill or prefills())]
        second = [await self.engine(one) for one in _list(decode or streams("a", "b"))]
        third = [await self.engine(one) for one in _list(hybrid)]
        listening = socket.create_server(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        if lists:
            settings["prefills"] = tuple(engine.address for engine in first)
            settings["decodes"] = tuple(engine.address for engine in second)
            settings["hybrids"] = tuple(engine.address for engine in third)
        settings.setdefault("bootstrap_ports", tuple(engine.port for engine in first) if lists else ())
        proxy = await self.stack.enter_async_context(opened(Settings(port=port, **settings)))
        server = server_for(proxy)
        self.stack.push_async_callback(_end, server, asyncio.create_task(server.serve(sockets=[listening])))
        client = await self.stack.enter_async_context(aiohttp.ClientSession())
        deployment = Deployment(
            proxy=proxy,
            url=f"http://127.0.0.1:{port}",
            client=client,
            prefills=first,
            decodes=second,
            hybrids=third,
        )
        if wait and lists:
            await deployment.until_in(len(first), len(second), len(third))
        await until(lambda: server.started)
        return deployment


async def _end(server: uvicorn.Server, serving: asyncio.Task[None]) -> None:
    server.should_exit = True
    await asyncio.wait_for(serving, PATIENCE_S)


def _list(some: Behaviour | Sequence[Behaviour]) -> list[Behaviour]:
    return [some] if callable(some) else list(some)


@pytest.fixture
async def workshop() -> AsyncIterator[Workshop]:
    shop = Workshop()
    async with shop.stack:
        yield shop
