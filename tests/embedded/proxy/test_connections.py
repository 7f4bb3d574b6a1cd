from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from pdtest.embedded.connections import Broken, Connections, Response, Unreached
from tests.ports import free_port

from .conftest import Workshop
from .doubles import Engine, Exchange, never, until

Ask = Callable[[Engine], Awaitable[Response]]


@pytest.fixture
async def connections() -> AsyncIterator[Connections]:
    some = Connections()
    yield some
    some.close()
    await until(lambda: not some._all)


@pytest.fixture
def ask(connections: Connections) -> Ask:
    return lambda engine: connections.send("POST", engine.address, "/path", {"X-Own": "1"}, b"{}")


def raw(*pieces: bytes, close: bool = False) -> Callable[[Exchange], Awaitable[None]]:
    async def behave(exchange: Exchange) -> None:
        for number, piece in enumerate(pieces):
            if number:
                await asyncio.sleep(0.01)
            exchange.writer.write(piece)
        if close:
            exchange.writer.close()

    return behave


async def test_a_request_and_its_answer(workshop: Workshop, ask: Ask) -> None:
    engine = await workshop.engine(
        raw(b"HTTP/1.1 201 Made\r\nX-Name: Value\r\ncontent-length: 5\r\n\r\nhello")
    )
    response = await ask(engine)
    assert response.status == 201
    assert response.headers == [(b"x-name", b"Value"), (b"content-length", b"5")]
    assert (response.header(b"x-name"), response.header(b"x-none")) == ("Value", "")
    assert await response.read_all() == b"hello"
    assert await response.read() == b""
    (seen,) = engine.seen
    assert (seen.method, seen.path, seen.content) == ("POST", "/path", b"{}")
    assert seen.headers == {"host": engine.address, "x-own": "1", "content-length": "2"}


@pytest.mark.parametrize("size", [1, 3, 7])
async def test_an_answer_in_pieces_of_any_size(workshop: Workshop, ask: Ask, size: int) -> None:
    answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    pieces = [answer[start : start + size] for start in range(0, len(answer), size)]
    engine = await workshop.engine(raw(*pieces))
    assert await (await ask(engine)).read_all() == b"abcde"


async def test_a_connection_is_used_again(workshop: Workshop, ask: Ask, connections: Connections) -> None:
    ports = []

    async def behave(exchange: Exchange) -> None:
        ports.append(exchange.writer.get_extra_info("peername"))
        await exchange.answer(200, b"a" * 1000)

    engine = await workshop.engine(behave)
    for _ in range(3):
        assert len(await (await ask(engine)).read_all()) == 1000
    assert len(set(ports)) == 1
    both = await asyncio.gather(ask(engine), ask(engine))
    assert len(set(ports)) == 2
    assert {response.status for response in both} == {200}


async def test_bodies_do_not_mix_on_a_connection_that_goes_on(workshop: Workshop, ask: Ask) -> None:
    async def behave(exchange: Exchange) -> None:
        await exchange.answer(200, b"answer %d" % len(engine.seen))

    engine = await workshop.engine(behave)
    first = await ask(engine)
    second = await ask(engine)
    assert await second.read_all() == b"answer 2"
    assert await first.read_all() == b"answer 1"
    first.close()  # it has come whole: whose connection it was is nobody's business any more
    assert await (await ask(engine)).read_all() == b"answer 3"


async def test_idle_connections_are_given_up_before_the_server_does(
    workshop: Workshop, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = []

    async def behave(exchange: Exchange) -> None:
        ports.append(exchange.writer.get_extra_info("peername"))
        await exchange.answer(200, b"")

    engine = await workshop.engine(behave)
    await (await ask(engine)).read_all()
    monkeypatch.setattr(f"{Connections.__module__}._KEEP_IDLE_S", 0.0)
    await (await ask(engine)).read_all()
    assert len(set(ports)) == 2


async def test_a_server_that_wants_to_close_is_not_asked_again(workshop: Workshop, ask: Ask) -> None:
    answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok"
    engine = await workshop.engine(raw(answer, close=True))
    for _ in range(2):
        assert await (await ask(engine)).read_all() == b"ok"


async def test_a_body_without_length_ends_with_the_connection(workshop: Workshop, ask: Ask) -> None:
    engine = await workshop.engine(raw(b"HTTP/1.1 200 OK\r\n\r\nwho", b"le", close=True))
    assert await (await ask(engine)).read_all() == b"whole"


async def test_100_continue_is_not_the_answer(workshop: Workshop, ask: Ask) -> None:
    answer = b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 204 No Content\r\nx-own: 1\r\n\r\n"
    engine = await workshop.engine(raw(*answer))
    for _ in range(2):
        response = await ask(engine)
        assert (response.status, response.headers) == (204, [(b"x-own", b"1")])
        assert await response.read_all() == b""


@pytest.mark.parametrize(
    "torn",
    [
        b"",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    ],
)
async def test_an_answer_that_breaks_off_in_its_head_is_broken(
    workshop: Workshop, ask: Ask, torn: bytes
) -> None:
    engine = await workshop.engine(raw(torn, close=True))
    with pytest.raises(Broken) as broken:
        await ask(engine)
    assert not isinstance(broken.value, Unreached)


@pytest.mark.parametrize(
    "torn",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nnonsense",
    ],
)
async def test_an_answer_that_breaks_off_in_its_body_is_broken(
    workshop: Workshop, ask: Ask, torn: bytes
) -> None:
    engine = await workshop.engine(raw(torn, close=True))
    response = await ask(engine)
    assert await response.read() == b"abc"
    with pytest.raises(Broken):
        await response.read()
    with pytest.raises(Broken):  # and it stays so
        await response.read()


async def test_who_does_not_listen_is_unreached(connections: Connections) -> None:
    with pytest.raises(Unreached):
        await connections.send("GET", f"127.0.0.1:{free_port()}", "/", {}, b"")
    with pytest.raises(Unreached):
        await connections.send("GET", "no.such.host.invalid:80", "/", {}, b"")


async def test_ipv6(connections: Connections) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "::1", 0)
    address = f"[::1]:{server.sockets[0].getsockname()[1]}"
    assert (await connections.send("GET", address, "/", {}, b"")).status == 200
    server.close()


async def test_a_server_that_is_late_is_broken_where_that_matters(
    workshop: Workshop, connections: Connections
) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        left.set()
        writer.close()

    left = asyncio.Event()
    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    with pytest.raises(Broken, match=r"no answer within 0\.1 s"):
        await connections.get(address, "/health", {}, timeout_s=0.1)
    await asyncio.wait_for(left.wait(), 5)
    server.close()


async def test_a_cancelled_request_closes_its_connection(
    workshop: Workshop, connections: Connections
) -> None:
    engine = await workshop.engine(never)
    asking = asyncio.create_task(connections.send("POST", engine.address, "/", {}, b"{}"))
    await engine.arrived.wait()
    asking.cancel()
    await asyncio.wait_for(engine.left.wait(), 5)


async def test_what_nobody_asked_for_ends_the_connection(workshop: Workshop, ask: Ask) -> None:
    first = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    engine = await workshop.engine(raw(first, b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfake"))
    assert await (await ask(engine)).read_all() == b"ok"
    await asyncio.sleep(0.05)
    engine.behaviour = raw(first)
    assert await (await ask(engine)).read_all() == b"ok"
