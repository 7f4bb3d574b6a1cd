from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import psutil
import pytest

from tests.ports import free_port

from .conftest import Workshop
from .doubles import DONE, Exchange, event, prefills, until
from .processes import Processes, ask

MODULE = "pdtest.embedded.proxy"
BODY = {"model": "m", "prompt": "p", "stream": True}


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    some = Processes(tmp_path)
    yield some
    some.stop()


async def test_a_proxy_from_its_command_line(workshop: Workshop, processes: Processes) -> None:
    """As in production: its own process, uvloop, httptools."""

    async def breaks(exchange: Exchange) -> None:
        await exchange.begin(content_type="application/json")
        await exchange.chunk(b"{")
        exchange.die()

    async def either(exchange: Exchange) -> None:
        if not exchange.seen.body["stream"]:
            await breaks(exchange)
            return
        await exchange.begin(content_type="text/event-stream")
        for text in "abc":
            await exchange.chunk(event(text))
        await exchange.chunk(DONE)
        await exchange.end()

    prefill, decode = await workshop.engine(prefills()), await workshop.engine(either)
    port = free_port()
    lists = ("--prefiller-hosts", "127.0.0.1", "--decoder-hosts", "127.0.0.1")
    ports = ("--prefiller-ports", prefill.port, "--decoder-ports", decode.port)
    process = processes.start("proxy", MODULE, "--port", port, *lists, *ports)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:

        async def serves() -> bool:
            try:
                async with client.get("/health") as answer:
                    return answer.status == 200
            except aiohttp.ClientError:
                return False

        while not await serves():
            assert process.poll() is None, processes.log("proxy")
        async with client.post("/v1/completions", json=BODY) as answer:
            assert await answer.read() == b"".join(map(event, "abc")) + DONE
        with pytest.raises(aiohttp.ClientPayloadError):
            async with client.post("/v1/completions", json={**BODY, "stream": False}) as answer:
                await answer.read()
        assert psutil.Process(process.pid).memory_info().rss <= 80 << 20
    process.send_signal(signal.SIGTERM)
    await until(lambda: process.poll() is not None)
    assert process.returncode == 0
    log = processes.log("proxy")
    assert "nixl proxy at 127.0.0.1" in log
    for alarm in ("ERROR", "Traceback", "never retrieved"):
        assert alarm not in log


async def test_answers_under_way_do_not_hold_up_its_end(workshop: Workshop, processes: Processes) -> None:
    async def endless(exchange: Exchange) -> None:
        await exchange.begin(content_type="text/event-stream")
        await exchange.chunk(event("a"))
        await until(lambda: False)

    prefill, decode = await workshop.engine(prefills()), await workshop.engine(endless)
    port = free_port()
    process = processes.start("proxy", MODULE, "--port", port)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
        added = 0
        while added < 2:
            try:
                for side, engine in (("prefill", prefill), ("decode", decode)):
                    body = {"type": side, "instances": [engine.address]}
                    async with client.post("/instances/add", json=body) as answer:
                        added += answer.status == 200
            except aiohttp.ClientError:
                assert process.poll() is None, processes.log("proxy")
        while True:
            async with client.post("/v1/completions", json=BODY) as answer:
                if answer.status == 503:
                    continue
                await answer.content.readany()
                process.send_signal(signal.SIGTERM)
                with pytest.raises(aiohttp.ClientPayloadError):
                    await answer.read()
                break
    await until(lambda: process.poll() is not None)
    assert process.returncode == 0
    assert "ERROR" not in processes.log("proxy")


@pytest.mark.parametrize("flag", ["--port", "--zmq-port"])
def test_a_port_that_is_taken_ends_it_with_a_message(processes: Processes, flag: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        arguments = ("--port", free_port(), flag, port)
        process = processes.start("proxy", MODULE, *arguments)
        assert process.wait(30) == 1
    log = processes.log("proxy")
    assert f"{flag} {port} on 127.0.0.1: Address already in use" in log
    assert "Traceback" not in log


def test_without_instances_it_serves_errors(processes: Processes) -> None:
    port = free_port()
    process = processes.start("proxy", MODULE, "--port", port)
    health = None
    while health is None:
        assert process.poll() is None, processes.log("proxy")
        with suppress(OSError):
            health = ask(port, "/health").status
    assert health == 503
    assert ask(port, "/v1/completions", {"prompt": "p"}).status == 503
