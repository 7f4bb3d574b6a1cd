"""Servers that speak the protocol well and badly: a test double for the client, and for nothing else."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from pdtest.client.endpoint import Endpoint
from pdtest.events.record import Event

SAMPLES = Path(__file__).parent / "samples"
PARAMS = {
    "do_remote_prefill": True,
    "do_remote_decode": False,
    "remote_block_ids": [[1, 2]],
    "remote_engine_id": "engine",
    "remote_request_id": "cmpl-1",
    "remote_host": "127.0.0.1",
    "remote_port": 15600,
    "tp_size": 1,
}


@dataclass
class Double:
    """A running server. ``seen`` are the generation requests: behaviour, headers, body."""

    url: str
    seen: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)


def _error(status: int, message: str) -> Response:
    return JSONResponse({"error": {"message": message, "type": "Error", "code": status}}, status_code=status)


def _sample(http: HttpRequest, body: dict[str, Any]) -> Response:
    kind = "chat" if "chat" in http.url.path else "completion"
    if body["stream"]:
        return StreamingResponse(
            iter([(SAMPLES / f"{kind}_stream.txt").read_bytes()]), media_type="text/event-stream"
        )
    answer = json.loads((SAMPLES / f"{kind}.json").read_text())
    asked = body.get("kv_transfer_params") or {}
    answer["kv_transfer_params"] = PARAMS if asked.get("do_remote_decode") else None
    return JSONResponse(answer, headers={"X-Request-Id": http.headers["x-request-id"], "Via": "proxy"})


def _bytes(content: bytes) -> Response:
    return Response(content, media_type="application/json")


async def _stall() -> AsyncIterator[bytes]:
    yield b'data: {"choices": [], "model": "tiny"}\n\n'
    await asyncio.sleep(30)


def _echo(http: HttpRequest) -> Response:
    return _error(400, f"I do not like {http.headers['authorization']}")


BEHAVIOURS: dict[str, Callable[[HttpRequest, dict[str, Any]], Response]] = {
    "good": _sample,
    "no-params": lambda http, body: _sample(http, {**body, "kv_transfer_params": None}),
    "status-500": lambda *_: _error(500, "KV load failed"),
    "status-400-text": lambda *_: PlainTextResponse("no", status_code=400),
    "echoes-key": lambda http, _: _echo(http),
    "stalls": lambda *_: StreamingResponse(_stall(), media_type="text/event-stream"),
    "not-json": lambda *_: _bytes(b'{"choices": ['),
    "not-an-object": lambda *_: _bytes(b"[]"),
    "empty": lambda *_: _bytes(b""),
    "no-choices": lambda *_: _bytes(b'{"model": "tiny", "choices": [], "usage": {"prompt_tokens": 1}}'),
    "error-200": lambda *_: _bytes(b'{"error": {"message": "decode failed"}}'),
}


async def _generate(http: HttpRequest) -> Response:
    behaviour, body = http.path_params["behaviour"], await http.json()
    http.app.state.double.seen.append((behaviour, dict(http.headers), body))
    return BEHAVIOURS[behaviour](http, body)


async def _probe(http: HttpRequest) -> Response:
    known = {
        "health": Response(),
        "metrics": PlainTextResponse((SAMPLES / "metrics.txt").read_text()),
        "version": JSONResponse({"version": "0.32.0"}),
        "v1/models": JSONResponse({"object": "list", "data": [{"id": "tiny"}]}),
        "reset_prefix_cache": JSONResponse({"success": True}),
        "introduction": JSONResponse({"0": {"engine_id": "engine-0", "worker_addr": {}}}),
    }
    busy = {"reset_prefix_cache": JSONResponse({"success": False}), "health": Response(status_code=503)}
    bad = {"v1/models": JSONResponse({"data": [{}]}), "metrics": PlainTextResponse("a{b 1")}
    answers = {"busy": busy, "bad": bad}.get(http.path_params["behaviour"], known)
    return answers.get(http.path_params["what"], JSONResponse({"detail": "Not Found"}, status_code=404))


@pytest.fixture(scope="session")
def _server() -> Iterator[Double]:
    app = Starlette(
        routes=[
            Route("/{behaviour}/v1/completions", _generate, methods=["POST"]),
            Route("/{behaviour}/v1/chat/completions", _generate, methods=["POST"]),
            Route("/{behaviour}/{what:path}", _probe, methods=["GET", "POST"]),
        ]
    )
    listening = socket.create_server(("127.0.0.1", 0))
    app.state.double = Double(url=f"http://127.0.0.1:{listening.getsockname()[1]}")
    config = uvicorn.Config(app, log_level="critical", ws="none", lifespan="off")
    config.timeout_graceful_shutdown = 0
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield app.state.double
    server.should_exit = True
    thread.join()
    listening.close()


@pytest.fixture
def double(_server: Double) -> Double:
    _server.seen.clear()
    return _server


@dataclass(frozen=True)
class Raw:
    """Answers one request with exactly these bytes, in these pieces, and ends in this way."""

    pieces: tuple[bytes, ...]
    reset: bool = False
    linger_s: float = 0.0

    def answer(self, listening: socket.socket, over: threading.Event) -> None:
        listening.settimeout(5.0)
        connection, _ = listening.accept()
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(5.0)
            head = b""
            while b"\r\n\r\n" not in head and (more := connection.recv(65536)):
                head += more
            for piece in self.pieces:
                connection.sendall(piece)
                # A pause, so that the pieces are not joined on the way.
                over.wait(0.005)
            over.wait(self.linger_s)
            if self.reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                connection.shutdown(socket.SHUT_WR)


Serve = Callable[[Raw], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server with byte-exact behaviour and gives its URL."""
    over = threading.Event()
    with ExitStack() as stack:

        def start(raw: Raw) -> str:
            listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            thread = threading.Thread(target=raw.answer, args=(listening, over))
            thread.start()
            stack.callback(thread.join)
            return f"http://127.0.0.1:{listening.getsockname()[1]}"

        yield start
        over.set()


@pytest.fixture
def raw() -> Callable[..., Raw]:
    return lambda *pieces, **ending: Raw(pieces, **ending)


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    # Loading certificates takes longer than most of the tests.
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:  # noqa: S501
        yield client


@pytest.fixture
def events() -> list[Event]:
    return []


Connect = Callable[..., Endpoint]


@pytest.fixture
def connect(double: Double, http: httpx.AsyncClient, events: list[Event]) -> Connect:
    """An endpoint of the double with one behaviour, or of any other URL."""

    def connect(behaviour: str = "good", *, url: str | None = None, **settings: Any) -> Endpoint:
        settings = {"model": "tiny", "http": http, "on_event": events.append, "timeout_s": 5.0, **settings}
        return Endpoint(settings.pop("name", behaviour), url or f"{double.url}/{behaviour}", **settings)

    return connect
