from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from pdtest.errors import MissingExtra
from pdtest.load import crew
from pdtest.load.answer import Answer
from pdtest.load.heard import heard
from pdtest.load.protocol import ProtocolClient, _Connection
from tests.load.calibrated import Served, driven

PATH = "/v1/completions"


def body(**more: object) -> bytes:
    return json.dumps({"prompt": "x", "max_tokens": 2, "stream": True, **more}).encode()


async def posted(client: ProtocolClient, content: bytes) -> Answer:
    answer = Answer()
    line = await client.line()
    await asyncio.wait_for(line.post(PATH, b"", content, answer), 30)
    return answer


async def closed(line: _Connection) -> None:
    while line.is_open:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.01)


@asynccontextmanager
async def saying(*said: bytes) -> AsyncIterator[str]:
    """A server that says the same to everybody, and closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for part in said:
            writer.write(part)
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1") as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_prompt_larger_than_all_buffers_arrives(calibration: Served) -> None:
    size = 20_000_000
    async with ProtocolClient(calibration()) as client:
        told = heard(await posted(client, body(prompt="x" * size)))
    assert told.error is None
    assert told.prompt_tokens == size


async def test_a_connection_is_used_again(calibration: Served) -> None:
    async with ProtocolClient(calibration()) as client:
        first = await client.line()
        for _ in range(3):
            assert heard(await posted(client, body())).error is None
        again = await client.line()
        assert again is not first, "the first one is still taken"
        await asyncio.wait_for(again.post(PATH, b"", body(), Answer()), 30)
        assert await client.line() is again


async def test_a_connection_that_was_closed_meanwhile_is_made_anew() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    async with saying(answer) as url, ProtocolClient(url) as client:
        line = await client.line()
        kept = Answer()
        await line.post(PATH, b"", body(), kept)
        assert (kept.status, kept.body, kept.error) == (200, b"{}", None)
        await asyncio.wait_for(closed(line), 30)
        once_more = Answer()
        await line.post(PATH, b"", body(), once_more)
        assert (once_more.status, once_more.error) == (200, None)


@pytest.mark.parametrize(
    ("said", "status", "error"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nall of it", 200, None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nall of it", 200, "the server closed the connection"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nall of it", 200, None),
        (b"", None, "the server closed the connection"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", None, "what the server sent is not HTTP"),
    ],
)
async def test_what_a_server_may_say(said: bytes, status: int | None, error: str | None) -> None:
    async with saying(said) as url, ProtocolClient(url) as client:
        answer = await posted(client, body())
    assert answer.status == status
    assert (answer.error or "").startswith(error or "")
    assert bool(answer.error) == bool(error)
    assert answer.body == (b"all of it" if status else b"")
    assert answer.sent_at < answer.ended_at


async def test_a_client_that_walks_away_closes_its_connection(calibration: Served) -> None:
    async with ProtocolClient(calibration("--ttft", "30")) as client:
        line = await client.line()
        waiting = asyncio.create_task(line.post(PATH, b"", body(), Answer()))
        await asyncio.sleep(0.1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.wait_for(closed(line), 30)
        assert await client.line() is not line


def test_the_extra_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "find_spec", {"uvloop": True, "httptools": True}.get)
    with pytest.raises(MissingExtra, match="aiohttp") as missing:
        driven("https://127.0.0.1:9", requests=1)
    assert "pdtest[load]" in str(missing.value)
    assert driven("http://127.0.0.1:9", requests=1).exchanges[0].error
