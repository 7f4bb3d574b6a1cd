"""Clients that go away."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from pdtest.embedded.engine.sequence import Finish

from .fakes import EchoCore

PATIENCE_S = 10


async def until(condition: Any) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - across a socket
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
async def test_before_the_first_token(url: str, core: EchoCore, path: str, stream: bool) -> None:
    core.go.clear()
    body = {"prompt": "Hello", "messages": [{"role": "user", "content": "Hi"}], "n": 2, "stream": stream}
    async with httpx.AsyncClient(base_url=url) as client:
        asking = asyncio.create_task(client.post(path, json=body))
        await until(lambda: len(core.submitted) == 2)
        asking.cancel()
        await until(lambda: len(core.aborted) == 2)
    assert [sequence.finish for sequence in core.aborted] == [Finish.ABORT] * 2


async def test_within_a_stream(url: str, core: EchoCore) -> None:
    core.pause_after = 2
    body = {"prompt": "Hello", "stream": True, "ignore_eos": True, "max_tokens": 50}
    async with httpx.AsyncClient(base_url=url) as client:
        async with client.stream("POST", "/v1/completions", json=body) as response:
            assert response.status_code == 200
            lines = response.aiter_lines()
            assert '"text":"H"' in await anext(lines)
        await until(lambda: core.aborted)
    assert core.aborted[0].finish is Finish.ABORT


async def test_the_others_go_on(url: str, core: EchoCore) -> None:
    core.go.clear()
    async with httpx.AsyncClient(base_url=url) as client:
        asking = [
            asyncio.create_task(client.post("/v1/completions", json={"prompt": text})) for text in ("a", "b")
        ]
        await until(lambda: len(core.submitted) == 2)
        assert (await client.get("/load")).json() == {"server_load": 2}
        asking[0].cancel()
        await until(lambda: core.aborted)
        core.go.set()
        answer = await asking[1]
        assert answer.json()["choices"][0]["text"] == "b"
        assert (await client.get("/load")).json() == {"server_load": 0}
    assert len(core.aborted) == 1


async def test_who_stays_gets_the_answer_and_nothing_is_aborted(url: str, core: EchoCore) -> None:
    async with httpx.AsyncClient(base_url=url) as client:
        for stream in (False, True):
            answer = await client.post("/v1/completions", json={"prompt": "Hello", "stream": stream})
            assert answer.status_code == 200
    assert core.aborted == []
