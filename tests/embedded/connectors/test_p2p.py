from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np
import pytest
import zmq
import zmq.asyncio

from pdtest.embedded.connectors.connector import Handover, LoadFailed
from pdtest.embedded.connectors.options import BadConfig
from pdtest.embedded.connectors.p2p import P2pNcclConnector
from pdtest.embedded.engine.sequence import Finish
from pdtest.embedded.engine.sequence import Sequence as EngineSequence
from tests.ports import free_ports

from .conftest import Started
from .fakes import CONFIG, FakeHost, make_host, make_sequence, settled

THERE: tuple[int, ...] = (3, 1, 7)
HERE: tuple[int, ...] = (5, 0, 2)


@dataclass
class Pair:
    prefill: P2pNcclConnector
    there: FakeHost
    decode: P2pNcclConnector
    here: FakeHost
    request_id: str

    def sent(self, prompt: int = 10, *, request_id: str | None = None, start: int = 0) -> Handover:
        """Prefill computes a prompt and ends."""
        blocks = THERE[: -(-prompt // 4)]
        sequence = make_sequence(prompt, request_id=request_id or self.request_id, blocks=blocks)
        self.prefill.queued(sequence)
        for layer in range(CONFIG.layers):
            self.prefill.layer_computed(sequence, layer, start, prompt)
        sequence.computed, sequence.finish = prompt, Finish.LENGTH
        handover = self.prefill.finished(sequence)
        assert handover.params is None
        assert not handover.hold
        return handover

    def asked(self, prompt: int = 10, **values: Any) -> EngineSequence:
        values = {"request_id": self.request_id, "blocks": HERE, **values}
        sequence = make_sequence(prompt, **values)
        self.decode.queued(sequence)
        return sequence


def connector(
    host: FakeHost, role: str, port: int, config: dict[str, Any] | None = None, **extra: Any
) -> P2pNcclConnector:
    values = {"kv_role": role, "kv_port": port, "kv_connector_extra_config": extra}
    return P2pNcclConnector({**values, **(config or {})}, host)


async def pair(
    started: Started, *, prefill: int = 1, decode: int = 1, config: dict[str, Any] | None = None, **extra: Any
) -> Pair:
    there, here = make_host(ranks=prefill, seed=1), make_host(ranks=decode, seed=2)
    ports = [free_ports(prefill)[0], free_ports(decode)[0]]
    both = Pair(
        connector(there, "kv_producer", ports[0], **extra),
        there,
        connector(here, "kv_consumer", ports[1], config, **extra),
        here,
        f"___prefill_addr_127.0.0.1:{ports[0]}___decode_addr_127.0.0.1:{ports[1]}_{'a' * 32}",
    )
    await started(both.prefill)
    await started(both.decode)
    return both


@pytest.mark.parametrize("first", ["prefill", "decode"])
@pytest.mark.parametrize(("prefill", "decode"), [(1, 1), (1, 2), (2, 1), (2, 4), (4, 2)])
async def test_what_prefill_sends_arrives(started: Started, first: str, prefill: int, decode: int) -> None:
    both = await pair(started, prefill=prefill, decode=decode)
    if first == "prefill":
        handover = both.sent()
        assert handover.answer_after is not None
        await handover.answer_after
    sequence = both.asked()
    assert await both.decode.match(sequence, 0) == 9
    untouched = both.here.kv((1, 3)).copy()
    loading = asyncio.create_task(both.decode.load(sequence, 0, 9))
    if first == "decode":
        await asyncio.sleep(0.05)
        assert not loading.done()
        both.sent()
    await loading
    np.testing.assert_array_equal(both.here.kv(HERE), both.there.kv(THERE))
    np.testing.assert_array_equal(both.here.kv((1, 3)), untouched)
    both.decode.finished(sequence)
    assert both.decode._arrivals.kept == 0


@pytest.mark.parametrize(
    ("prompt", "cached", "promised"), [(1, 0, 0), (2, 0, 1), (5, 4, 0), (9, 4, 4), (10, 8, 1), (12, 8, 3)]
)
async def test_how_much_is_promised(started: Started, prompt: int, cached: int, promised: int) -> None:
    both = await pair(started)
    both.sent(prompt)
    sequence = both.asked(prompt)
    assert await both.decode.match(sequence, cached) == promised
    await both.decode.load(sequence, cached, promised)
    loaded = slice(cached // 4, -(-(cached + promised) // 4) if promised else cached // 4)
    np.testing.assert_array_equal(both.here.kv(HERE[loaded]), both.there.kv(THERE[loaded]))


async def test_cached_tokens_of_prefill_are_sent_too(started: Started) -> None:
    both = await pair(started)
    both.sent(start=8)
    sequence = both.asked()
    await both.decode.load(sequence, 0, 9)
    np.testing.assert_array_equal(both.here.kv(HERE), both.there.kv(THERE))


async def test_nothing_is_sent_before_the_prompt_is_computed(started: Started) -> None:
    both = await pair(started)
    sequence = make_sequence(10, request_id=both.request_id, blocks=THERE)
    for layer in range(CONFIG.layers):
        both.prefill.layer_computed(sequence, layer, 0, 8)
    assert both.prefill.finished(sequence).answer_after is None


async def test_blocks_may_change_once_they_were_seen(started: Started) -> None:
    both = await pair(started)
    before = both.there.kv(THERE).copy()
    both.there.transfer_delay_s = 0.1
    both.sent()
    both.there.memories[0].kv[...] = 0
    await both.decode.load(both.asked(), 0, 9)
    np.testing.assert_array_equal(both.here.kv(HERE), before)


async def test_all_choices_get_it(started: Started) -> None:
    both = await pair(started)
    places = [(5, 0, 2), (8, 9, 10)]
    choices = [both.asked(blocks=at, choice=number) for number, at in enumerate(places)]
    both.sent()
    for sequence, at in zip(choices, places, strict=True):
        await both.decode.load(sequence, 0, 9)
        both.decode.finished(sequence)
        np.testing.assert_array_equal(both.here.kv(at), both.there.kv(THERE))
    assert both.decode._arrivals.kept == 0


@pytest.mark.parametrize("request_id", ["plain", "___prefill_addr_h:99999___decode_addr_h:99999_x"])
async def test_a_request_that_names_nobody_is_computed(started: Started, request_id: str) -> None:
    both = await pair(started)
    assert both.sent(request_id=request_id).answer_after is None
    assert await both.decode.match(both.asked(request_id=request_id), 0) == 0


async def test_prefill_promises_nothing(started: Started) -> None:
    both = await pair(started)
    assert await both.prefill.match(make_sequence(10, request_id=both.request_id), 0) == 0


async def test_what_does_not_come(started: Started) -> None:
    both = await pair(started, wait_timeout=0.2)
    with pytest.raises(LoadFailed, match=r"after 0\.2 s 9 of 9 blocks of layers"):
        await both.decode.load(both.asked(), 0, 9)


async def test_a_decode_that_is_not_there_does_not_stop_prefill(started: Started) -> None:
    both = await pair(started)
    await both.decode.close()
    handover = both.sent()
    assert handover.answer_after is not None
    await asyncio.wait_for(asyncio.ensure_future(handover.answer_after), 10)


async def test_a_decode_that_was_restarted(started: Started) -> None:
    both = await pair(started)
    both.sent()
    await both.decode.load(both.asked(), 0, 9)
    await both.decode.close()
    both.here = make_host(seed=4)
    both.decode = connector(both.here, "kv_consumer", both.decode._ports[0])
    await started(both.decode)
    both.sent()
    await both.decode.load(both.asked(), 0, 9)
    np.testing.assert_array_equal(both.here.kv(HERE), both.there.kv(THERE))


async def test_what_nobody_asks_for_is_given_up(started: Started) -> None:
    both = await pair(started, wait_timeout=0.3)
    handover = both.sent()
    assert handover.answer_after is not None
    await handover.answer_after
    assert both.decode._arrivals.kept > 0
    await settled(lambda: both.decode._arrivals.kept == 0)


async def test_a_buffer_that_is_too_small(started: Started) -> None:
    both = await pair(started, config={"kv_buffer_size": 100}, wait_timeout=0.3)
    sequence = both.asked()
    both.sent()
    with pytest.raises(LoadFailed, match="had not come"):
        await both.decode.load(sequence, 0, 9)


@pytest.mark.parametrize(("role", "kind"), [("kv_producer", "P"), ("kv_consumer", "D")])
async def test_registration(started: Started, role: str, kind: str) -> None:
    context = zmq.asyncio.Context()
    router = context.socket(zmq.ROUTER)
    proxy_port = router.bind_to_random_port("tcp://127.0.0.1")
    port = free_ports(1)[0]
    extra: dict[str, Any] = {"proxy_ip": "127.0.0.1", "proxy_port": str(proxy_port), "http_port": "8100"}
    await started(connector(make_host(), role, port, **extra))
    try:
        for _ in range(2):
            identity, message = await asyncio.wait_for(router.recv_multipart(), 10)
            assert identity == f"127.0.0.1:{port}".encode()
            assert msgpack.unpackb(message) == {
                "type": kind,
                "http_address": "127.0.0.1:8100",
                "zmq_address": f"127.0.0.1:{port}",
            }
    finally:
        router.close(linger=0)
        context.term()


async def test_a_proxy_that_is_not_there_yet_hears_of_the_engine_when_it_is(started: Started) -> None:
    proxy_port, port = free_ports(2)
    extra: dict[str, Any] = {"proxy_ip": "127.0.0.1", "proxy_port": proxy_port, "http_port": 8100}
    await started(connector(make_host(), "kv_producer", port, **extra))
    await asyncio.sleep(0.05)
    context = zmq.asyncio.Context()
    router = context.socket(zmq.ROUTER)
    router.bind(f"tcp://127.0.0.1:{proxy_port}")
    try:
        identity, _ = await asyncio.wait_for(router.recv_multipart(), 10)
        assert identity == f"127.0.0.1:{port}".encode()
    finally:
        router.close(linger=0)
        context.term()


@pytest.mark.parametrize(
    ("port", "extra", "message"),
    [
        (None, {}, "kv_port: expected a port from 1 to 65535, got None"),
        ("x", {}, "kv_port: expected a port from 1 to 65535, got 'x'"),
        (14579, {"proxy_ip": "h", "proxy_port": "1"}, "http_port: expected a port from 1 to 65535, got None"),
    ],
)
def test_a_configuration_that_makes_no_sense(port: Any, extra: dict[str, Any], message: str) -> None:
    with pytest.raises(BadConfig, match=message):
        connector(make_host(), "kv_producer", port, **extra)
