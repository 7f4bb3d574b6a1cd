from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from pdtest.links import HEALTHY, Condition, Line, Manner, Relay

from .conftest import Server, connect, relayed, round_trip, serving, until

SILENCE_S = 0.15
CUT = Line(is_cut=True)


async def hear(relay: Relay) -> bytes:
    reader, _ = await connect(relay)
    return await reader.read(1)


async def test_bytes_and_ends_go_through_as_they_are(server: Server, relay: Relay) -> None:
    reader, writer = await connect(relay)
    data = bytes(range(256)) * 4096

    writer.write(data)
    writer.write_eof()

    async with asyncio.timeout(10):
        assert await reader.read(-1) == data
    writer.close()
    await until(lambda: relay.open == 0)
    assert relay.traffic.connections == 1
    assert relay.traffic.up == relay.traffic.down == len(data)


lines = some.builds(
    Line,
    latency_s=some.sampled_from([0.0, 0.002]),
    jitter_s=some.sampled_from([0.0, 0.003]),
    bytes_per_s=some.sampled_from([None, 1e7]),
    slice_bytes=some.sampled_from([None, 1, 7, 4096]),
)
pieces = some.lists(some.binary(min_size=1, max_size=3000), min_size=1, max_size=6)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(up=lines, down=lines, later=lines, messages=pieces)
def test_every_stream_comes_whole_and_in_order(
    up: Line, down: Line, later: Line, messages: list[bytes]
) -> None:
    async def talk() -> bytes:
        async with serving() as server, relayed(server.port) as relay:
            # Single bytes with a pause would take minutes, and say nothing more.
            await relay.become(Condition(up=up, down=down))
            reader, writer = await connect(relay)
            for number, message in enumerate(messages):
                writer.write(message)
                await writer.drain()
                if number == len(messages) // 2:
                    await asyncio.sleep(0)
                    await relay.become(Condition(up=later, down=up))
            writer.write_eof()
            async with asyncio.timeout(20):
                got = await reader.read(-1)
            writer.close()
            return got

    assert asyncio.run(talk()) == b"".join(messages)


async def test_latency_is_seen_in_each_direction(relay: Relay) -> None:
    reader, writer = await connect(relay)
    await round_trip(reader, writer, b"x")
    for up, down in ((0.1, 0.0), (0.0, 0.1), (0.1, 0.1)):
        await relay.become(Condition(up=Line(latency_s=up), down=Line(latency_s=down)))
        began = time.perf_counter()
        await round_trip(reader, writer, b"x")
        assert time.perf_counter() - began >= up + down - 0.005
    writer.close()


async def test_bandwidth_limits_what_goes_through(relay: Relay) -> None:
    await relay.become(Condition(up=Line(bytes_per_s=100_000, slice_bytes=1000)))
    reader, writer = await connect(relay)
    began = time.perf_counter()
    await round_trip(reader, writer, bytes(20_000))
    assert time.perf_counter() - began >= 0.19
    writer.close()


async def test_slices_come_apart(relay: Relay) -> None:
    await relay.become(Condition(down=Line(slice_bytes=3, pause_s=0.3)))
    reader, writer = await connect(relay)
    writer.write(b"abcdefgh")
    async with asyncio.timeout(10):
        assert [await reader.read(100) for _ in range(3)] == [b"abc", b"def", b"gh"]
    writer.close()


async def test_a_cut_holds_everything_until_it_is_mended(relay: Relay) -> None:
    reader, writer = await connect(relay)
    await round_trip(reader, writer, b"before")
    await relay.become(Condition(up=CUT, down=CUT))
    writer.write(b"meanwhile")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(SILENCE_S):
            await reader.read(1)
    await relay.become(HEALTHY)
    async with asyncio.timeout(10):
        assert await reader.readexactly(9) == b"meanwhile"
    writer.close()


async def test_one_direction_alone_can_be_cut(relay: Relay) -> None:
    reader, writer = await connect(relay)
    await round_trip(reader, writer, b"before")
    await relay.become(Condition(down=CUT))
    writer.write(b"heard")
    await until(lambda: relay.traffic.down == len(b"before") + len(b"heard"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(SILENCE_S):
            await reader.read(1)
    writer.close()


async def test_a_cut_makes_the_sender_wait_instead_of_filling_memory(relay: Relay) -> None:
    reader, writer = await connect(relay)
    await round_trip(reader, writer, b"before")
    await relay.become(Condition(up=CUT, down=CUT))
    sent = 0

    async def flood() -> None:
        nonlocal sent
        while True:
            writer.write(bytes(1 << 20))
            await writer.drain()
            sent += 1 << 20

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await flood()
    assert relay.traffic.up < 3 << 20
    writer.transport.abort()


async def test_half_open_accepts_and_never_answers(server: Server, relay: Relay) -> None:
    await relay.become(Condition(manner=Manner.HALF_OPEN))
    reader, writer = await connect(relay)
    writer.write(b"anybody?")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(SILENCE_S):
            await reader.read(1)
    assert server.heard == []

    await relay.become(HEALTHY)

    with pytest.raises(ConnectionResetError):
        await reader.read(1)


async def test_a_connection_that_lost_bytes_does_not_go_on(relay: Relay) -> None:
    unharmed_reader, unharmed = await connect(relay)
    reader, writer = await connect(relay)
    for one in ((unharmed_reader, unharmed), (reader, writer)):
        await round_trip(*one, b"before")
    await relay.become(Condition(manner=Manner.HALF_OPEN))
    writer.write(b"lost")
    await until(lambda: relay.traffic.up == 2 * len(b"before") + len(b"lost"))

    await relay.become(HEALTHY)

    with pytest.raises(ConnectionResetError):
        await reader.read(1)
    assert await round_trip(unharmed_reader, unharmed, b"after") == b"after"
    unharmed.close()


async def test_a_reset_ends_what_exists_and_what_comes(relay: Relay) -> None:
    reader, writer = await connect(relay)
    await round_trip(reader, writer, b"before")

    await relay.become(Condition(manner=Manner.RESETS))

    with pytest.raises(ConnectionResetError):
        await reader.read(1)
    with pytest.raises(ConnectionResetError):
        await hear(relay)
    await relay.become(HEALTHY)
    reader, writer = await connect(relay)
    assert await round_trip(reader, writer, b"after") == b"after"
    writer.close()


async def test_refusing_leaves_existing_connections_alone(relay: Relay) -> None:
    reader, writer = await connect(relay)
    await round_trip(reader, writer, b"before")

    await relay.become(Condition(manner=Manner.REFUSES))

    with pytest.raises(ConnectionRefusedError):
        await connect(relay)
    assert await round_trip(reader, writer, b"still") == b"still"
    await relay.become(HEALTHY)
    (await connect(relay))[1].close()
    writer.close()


async def test_a_target_that_is_gone_looks_gone(server: Server) -> None:
    async with serving() as gone:
        port = gone.port
    async with relayed(port) as relay:
        with pytest.raises(ConnectionResetError):
            await hear(relay)


async def test_a_reset_by_either_side_reaches_the_other() -> None:
    async def slam(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        writer.transport.abort()

    async with serving(slam) as server, relayed(server.port) as relay:
        reader, writer = await connect(relay)
        writer.write(b"x")
        with suppress(ConnectionResetError):
            async with asyncio.timeout(10):
                assert await reader.read(1) == b""
        writer.close()
        await until(lambda: relay.open == 0)


async def test_a_probe_reaches_nobody_and_counts_for_nothing(server: Server, relay: Relay) -> None:
    reader, writer = await connect(relay)
    await round_trip(reader, writer, b"x")
    first, counted = server.heard, relay.traffic
    assert len(first) == 1

    listening = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    listening.close()
    await listening.wait_closed()
    await relay.expect_probe(port)
    probe = await asyncio.open_connection("127.0.0.1", relay.port, local_addr=("127.0.0.1", port))
    assert await round_trip(*probe, b"hello") == b"hello"

    assert len(server.heard) == 1
    assert relay.traffic == replace(counted)
    assert relay.open == 1
    for one in (probe[1], writer):
        one.close()
