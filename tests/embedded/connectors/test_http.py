from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from pdtest.embedded.connectors.http import HttpCalls, HttpFailed
from tests.ports import free_ports


class Server:
    """Says what it is told to, byte for byte."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.says = b""
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        self.heard.append(head + await reader.readexactly(length))
        # In small parts: an answer need not come at once.
        for start in range(0, len(self.says), 7):
            writer.write(self.says[start : start + 7])
            await writer.drain()
        writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    one = Server()
    running = await asyncio.start_server(one.serve, "127.0.0.1", 0)
    one.url = f"http://127.0.0.1:{running.sockets[0].getsockname()[1]}"
    yield one
    running.close()


async def test_get_and_post(server: Server) -> None:
    calls = HttpCalls(timeout_s=5)
    server.says = b'HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n{"a": 1}'
    assert await calls.get(f"{server.url}/query?x=1") == {"a": 1}
    assert server.heard[0].startswith(b"GET /query?x=1 HTTP/1.1\r\nHost: 127.0.0.1:")
    assert await calls.post(server.url, {"b": 2}) == {"a": 1}
    assert server.heard[1].startswith(b"POST / HTTP/1.1\r\n")
    assert server.heard[1].endswith(b'Content-Type: application/json\r\nContent-Length: 8\r\n\r\n{"b": 2}')


async def test_an_answer_in_chunks(server: Server) -> None:
    server.says = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n[1, \r\n2\r\n2]\r\n0\r\n\r\n"
    assert await HttpCalls(timeout_s=5).get(server.url) == [1, 2]


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone", "answered 404: none"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnone", "b'none', which is not JSON"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "GET .*: "),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nnone", r"closed the connection \(2 attempts\)"),
        (b"", r"closed the connection \(2 attempts\)"),
    ],
)
async def test_answers_that_are_of_no_use(server: Server, says: bytes, reason: str) -> None:
    server.says = says
    with pytest.raises(HttpFailed, match=reason):
        await HttpCalls(timeout_s=5, attempts=2, pause_s=0.01).get(server.url)


async def test_errors_are_not_asked_for_again(server: Server) -> None:
    server.says = b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"
    with pytest.raises(HttpFailed, match="answered 500"):
        await HttpCalls(timeout_s=5).get(server.url)
    assert len(server.heard) == 1


@pytest.mark.parametrize("url", ["", "nowhere", "ftp://h/", "http://", "http://h:99999/", "http://h/a b"])
async def test_what_is_no_address(url: str) -> None:
    with pytest.raises(HttpFailed, match="GET "):
        await HttpCalls(timeout_s=5).get(url)


async def test_a_dead_port_is_tried_again() -> None:
    with pytest.raises(HttpFailed, match=r"\(3 attempts\)"):
        await HttpCalls(timeout_s=5, pause_s=0.01).get(f"http://127.0.0.1:{free_ports(1)[0]}")


async def test_a_server_that_takes_its_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(HttpFailed, match=r"no answer within 0\.1 s"):
            await HttpCalls(timeout_s=0.1).get(url)
