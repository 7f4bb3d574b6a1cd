from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from typing import Any

import msgpack
import pytest
import zmq
import zmq.asyncio

from pdtest.embedded.proxy.instances import Pool, Side
from pdtest.embedded.proxy.registration import Registration
from tests.ports import free_port

from .conftest import Deployment, Workshop
from .doubles import DONE, Engine, event, prefills, streams, until

BODY = {"model": "m", "prompt": "p", "max_tokens": 9, "stream": True}


class Pinger:
    """Says over real ZMQ what an engine says."""

    def __init__(self, port: int) -> None:
        self._context = zmq.asyncio.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.connect(f"tcp://127.0.0.1:{port}")

    async def say(self, content: Any) -> None:
        await self._socket.send(content if isinstance(content, bytes) else msgpack.packb(content))

    async def register(self, kind: str, http: str, kv: str) -> None:
        await self.say({"type": kind, "http_address": http, "zmq_address": kv})

    def close(self) -> None:
        self._context.destroy(linger=0)


@pytest.fixture
async def pool() -> Pool:
    return Pool()


@pytest.fixture
async def pinger(pool: Pool) -> AsyncIterator[Pinger]:
    registration = Registration(pool, expiry_s=0.5)
    pinger = Pinger(registration.start("127.0.0.1", 0))
    yield pinger
    pinger.close()
    await registration.close()


async def test_who_registers_is_used_at_once(pool: Pool, pinger: Pinger) -> None:
    await pinger.register("P", "127.0.0.1:8100", "127.0.0.1:21001")
    await pinger.register("D", "127.0.0.1:8200", "127.0.0.1:22001")
    await until(lambda: len(list(pool)) == 2)
    (prefill,), (decode,) = pool.usable(Side.PREFILL), pool.usable(Side.DECODE)
    assert (prefill.address, prefill.zmq_address) == ("127.0.0.1:8100", "127.0.0.1:21001")
    assert (decode.address, decode.zmq_address) == ("127.0.0.1:8200", "127.0.0.1:22001")


async def test_who_falls_silent_is_dropped_and_who_speaks_stays(pool: Pool, pinger: Pinger) -> None:
    await pinger.register("P", "127.0.0.1:8100", "127.0.0.1:21001")
    silent_from = time.monotonic()
    while time.monotonic() < silent_from + 1.2:
        await pinger.register("D", "127.0.0.1:8200", "127.0.0.1:22001")
        await asyncio.sleep(0.05)
    assert pool.of(Side.PREFILL) == []
    assert len(pool.usable(Side.DECODE)) == 1
    await pinger.register("P", "127.0.0.1:8100", "127.0.0.1:21009")
    await until(lambda: pool.usable(Side.PREFILL))
    assert pool.usable(Side.PREFILL)[0].zmq_address == "127.0.0.1:21009"


async def test_an_engine_that_was_started_again_may_have_moved_its_kv_port(
    pool: Pool, pinger: Pinger
) -> None:
    await pinger.register("P", "127.0.0.1:8100", "127.0.0.1:21001")
    await pinger.register("P", "127.0.0.1:8100", "127.0.0.1:21002")
    await until(lambda: [one.zmq_address for one in pool] == ["127.0.0.1:21002"])


@pytest.mark.parametrize(
    "odd",
    [
        b"",
        b"\xc1",
        {"type": "X", "http_address": "h:1", "zmq_address": "h:2"},
        {"type": "P"},
        {"type": "P", "http_address": "no port", "zmq_address": "h:2"},
        {"type": "P", "http_address": 7, "zmq_address": "h:2"},
        ["P", "h:1", "h:2"],
        None,
    ],
)
async def test_what_is_no_registration_is_ignored(
    pool: Pool, pinger: Pinger, odd: Any, caplog: pytest.LogCaptureFixture
) -> None:
    await pinger.say(odd)
    await pinger.register("D", "127.0.0.1:8200", "127.0.0.1:22001")
    await until(lambda: list(pool))
    assert [one.address for one in pool] == ["127.0.0.1:8200"]
    assert "not understood" in caplog.text


async def test_a_port_that_is_taken_is_an_oserror(pool: Pool) -> None:
    first, second = Registration(pool), Registration(pool)
    port = first.start("127.0.0.1", 0)
    with pytest.raises(OSError, match=r"(?i)address"):
        second.start("127.0.0.1", port)
    await second.close()
    await first.close()


class P2P:
    """A proxy that engines register with, over doubles."""

    def __init__(self, there: Deployment, pinger: Pinger) -> None:
        self.there = there
        self.pinger = pinger

    async def register(self) -> None:
        for kind, engines in (("P", self.there.prefills), ("D", self.there.decodes)):
            for engine in engines:
                await self.pinger.register(kind, engine.address, _kv(engine))
        await self.there.until_in(len(self.there.prefills), len(self.there.decodes))


def _kv(engine: Engine) -> str:
    return f"127.0.0.1:{engine.port + 1}"


@pytest.fixture
async def p2p(workshop: Workshop) -> P2P:
    port = free_port()
    there = await workshop.deploy(
        prefills(None),
        [streams("a"), streams("a")],
        lists=False,
        contract=("p2p-nccl",),
        zmq_port=port,
    )
    pinger = Pinger(port)
    workshop.stack.callback(pinger.close)
    return P2P(there, pinger)


async def test_the_request_id_names_both_addresses(p2p: P2P) -> None:
    assert (await p2p.there.post(BODY)).status == 503
    await p2p.register()
    answer = await p2p.there.post(BODY)
    assert answer.content == event("a") + DONE
    (first,) = p2p.there.prefill.seen
    (second,) = p2p.there.decode.seen
    request_id = first.headers["x-request-id"]
    assert second.headers["x-request-id"] == request_id
    expected = f"___prefill_addr_{_kv(p2p.there.prefill)}___decode_addr_{_kv(p2p.there.decode)}_"
    assert re.fullmatch(re.escape(expected) + "[0-9a-f]{32}", request_id)
    assert first.body == {**BODY, "max_tokens": 1, "stream": False}
    assert second.body == BODY


@pytest.mark.parametrize(("own", "kept"), [("mine-1", True), ("a:1", False), ("___decode_addr_x:1", False)])
async def test_the_clients_id_is_kept_unless_it_could_be_taken_for_an_address(
    p2p: P2P, own: str, kept: bool
) -> None:
    await p2p.register()
    await p2p.there.post(BODY, headers={"X-Request-Id": own})
    name = p2p.there.prefill.seen[0].headers["x-request-id"]
    assert name.endswith(f"_{own}") is kept
    # How vLLM's connector reads it, on prefill and on decode.
    assert re.findall(r"___decode_addr_(.*):(\d+)", name) == [tuple(_kv(p2p.there.decode).split(":"))]
    assert re.findall(r"___prefill_addr_(.*):(\d+)___", name) == [tuple(_kv(p2p.there.prefill).split(":"))]


async def test_another_decode_needs_another_prefill(p2p: P2P) -> None:
    """Prefill has sent its KV to the decode that the request id named."""
    await p2p.register()
    await p2p.there.decode.stop()
    answer = await p2p.there.post(BODY)
    assert answer.status == 200
    first, second = (seen.headers["x-request-id"] for seen in p2p.there.prefill.seen)
    assert f"___decode_addr_{_kv(p2p.there.decodes[0])}_" in first
    assert f"___decode_addr_{_kv(p2p.there.decodes[1])}_" in second
    assert p2p.there.decodes[1].seen[0].headers["x-request-id"] == second
