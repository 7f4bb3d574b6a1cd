from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from typing import Any

import pytest

from pdtest.embedded.channel import Channel, ChannelServer, RemoteError


async def _double(asked: Mapping[str, Any]) -> Any:
    return asked["value"] * 2


async def _fail(asked: Mapping[str, Any]) -> Any:
    raise ValueError(f"no {asked['value']}")


async def _slow(asked: Mapping[str, Any]) -> Any:
    await asyncio.sleep(asked["seconds"])
    return asked["seconds"]


@pytest.fixture
async def server() -> Any:
    one = ChannelServer({"double": _double, "fail": _fail, "slow": _slow})
    await one.start("127.0.0.1", 0)
    yield one
    await one.close()


@pytest.fixture
async def channel(server: ChannelServer) -> Any:
    one = await Channel.connect("127.0.0.1", server.port)
    yield one
    await one.close()


async def test_requests_are_answered(channel: Channel) -> None:
    assert await channel.call("double", value=21) == 42
    assert await channel.call("double", value=b"ab") == b"abab"


async def test_bulk_data_arrives_whole(channel: Channel) -> None:
    content = bytes(range(256)) * 40_000
    assert await channel.call("double", value=content) == content * 2


async def test_answers_come_in_any_order(channel: Channel) -> None:
    slow = asyncio.create_task(channel.call("slow", seconds=0.2))
    assert await channel.call("double", value=1) == 2
    assert not slow.done()
    assert await slow == 0.2


async def test_errors_travel(channel: Channel) -> None:
    with pytest.raises(RemoteError, match="ValueError: no good"):
        await channel.call("fail", value="good")
    with pytest.raises(RemoteError, match="there is no method 'triple'"):
        await channel.call("triple")
    assert await channel.call("double", value=1) == 2


async def test_a_server_that_goes_ends_what_waits(server: ChannelServer, channel: Channel) -> None:
    waiting = asyncio.create_task(channel.call("slow", seconds=60))
    await channel.call("double", value=1)
    await server.close()
    with pytest.raises(ConnectionResetError, match="closed the connection"):
        await waiting
    assert not channel.is_open
    with pytest.raises(ConnectionResetError, match="closed the connection"):
        await channel.call("double", value=1)


async def test_a_caller_that_gives_up_disturbs_nobody(channel: Channel) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(channel.call("slow", seconds=0.1), 0.01)
    await asyncio.sleep(0.2)  # The late answer is for nobody.
    assert await channel.call("double", value=1) == 2


async def test_a_handler_ends_with_its_caller() -> None:
    ended = asyncio.Event()

    async def wait(_: Mapping[str, Any]) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    server = ChannelServer({"wait": wait})
    await server.start("127.0.0.1", 0)
    channel = await Channel.connect("127.0.0.1", server.port)
    waiting = asyncio.create_task(channel.call("wait"))
    await asyncio.sleep(0.05)
    await channel.close()
    await asyncio.wait_for(ended.wait(), 5)
    with pytest.raises(ConnectionResetError):
        await waiting
    await server.close()


@pytest.mark.parametrize(
    "nonsense",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x01\xc1",
        b"\x00\x00\x00\x02\x91\x01",
        b"\x00\x00\x00\x01\x2a",
    ],
)
async def test_who_speaks_something_else_is_hung_up_on(server: ChannelServer, nonsense: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(nonsense)
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()


async def test_a_server_that_speaks_something_else() -> None:
    async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        await writer.drain()
        writer.close()

    other = await asyncio.start_server(babble, "127.0.0.1", 0)
    channel = await Channel.connect("127.0.0.1", other.sockets[0].getsockname()[1])
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(channel.call("double", value=1), 5)
    await channel.close()
    other.close()


async def test_a_port_that_is_taken_and_one_that_is_dead(server: ChannelServer) -> None:
    with pytest.raises(OSError, match="in use"):
        await ChannelServer({}).start("127.0.0.1", server.port)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError):
            await Channel.connect("127.0.0.1", unused.getsockname()[1])
