from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pdtest.embedded.connectors import layerwise
from pdtest.embedded.connectors.connector import LoadFailed
from pdtest.embedded.connectors.layerwise import MooncakeLayerwiseConnector
from pdtest.embedded.connectors.params import BadParams
from pdtest.embedded.engine.sequence import Finish
from pdtest.embedded.engine.sequence import Sequence as EngineSequence
from tests.ports import free_ports

from .conftest import Started
from .fakes import CONFIG, FakeHost, make_host, make_sequence, settled

THERE: tuple[int, ...] = (3, 1, 7)
HERE: tuple[int, ...] = (5, 0, 2)


@dataclass
class Metaserver:
    """Takes reports, and does with them what ``then`` says, before it answers."""

    reports: list[dict[str, Any]] = field(default_factory=list)
    then: Callable[[dict[str, Any]], Awaitable[None]] | None = None
    status: int = 200
    url: str = ""

    async def answer(self, request: web.Request) -> web.Response:
        report = await request.json()
        self.reports.append(report)
        if self.then is not None:
            await self.then(report)
        return web.json_response({"status": "ok"}, status=self.status)


@pytest.fixture
async def metaserver() -> AsyncIterator[Metaserver]:
    server = Metaserver()
    application = web.Application()
    application.router.add_post("/v1/metaserver", server.answer)
    running = TestServer(application)
    await running.start_server()
    server.url = str(running.make_url("/v1/metaserver"))
    yield server
    await running.close()


@dataclass
class Pair:
    prefill: MooncakeLayerwiseConnector
    there: FakeHost
    decode: MooncakeLayerwiseConnector
    here: FakeHost
    metaserver: Metaserver
    #: How prefill computes: chunks of the prompt, and what it finds in its own prefix cache.
    chunks: tuple[tuple[int, int], ...] = ((0, 10),)
    layers: int = CONFIG.layers
    finish: Finish = Finish.LENGTH
    prompt: int = 10
    blocks: tuple[int, ...] = THERE

    def __post_init__(self) -> None:
        self.metaserver.then = self.prefilled

    async def prefilled(self, report: dict[str, Any]) -> None:
        """What the proxy does with a report: prefill gets it as its parameters."""
        sequence = make_sequence(self.prompt, request_id="p", params=report, blocks=self.blocks)
        self.prefill.queued(sequence)
        assert await self.prefill.match(sequence, 0) == 0
        for start, end in self.chunks:
            for layer in range(self.layers):
                self.prefill.layer_computed(sequence, layer, start, end)
            await asyncio.sleep(0)
        sequence.computed, sequence.finish = self.prompt, self.finish
        handover = self.prefill.finished(sequence)
        assert handover.params is None
        assert not handover.hold
        if handover.answer_after is not None:
            await handover.answer_after

    def asked(self, **values: Any) -> EngineSequence:
        params = {
            "do_remote_decode": False,
            "do_remote_prefill": True,
            "metaserver": self.metaserver.url,
            **values.pop("params", {}),
        }
        sequence = make_sequence(
            values.pop("prompt", self.prompt), params=params, **{"blocks": HERE, **values}
        )
        self.decode.queued(sequence)
        return sequence


async def pair(
    started: Started, metaserver: Metaserver, *, prefill: int = 1, decode: int = 1, **extra: Any
) -> Pair:
    config = {"kv_connector_extra_config": extra}
    there, here = make_host(ranks=prefill, seed=1), make_host(ranks=decode, seed=2)
    connectors = MooncakeLayerwiseConnector(config, there), MooncakeLayerwiseConnector(config, here)
    for connector in connectors:
        await started(connector)
    return Pair(connectors[0], there, connectors[1], here, metaserver)


@pytest.mark.parametrize(("prefill", "decode"), [(1, 1), (1, 2), (2, 1), (2, 4), (4, 2)])
async def test_layers_arrive(started: Started, metaserver: Metaserver, prefill: int, decode: int) -> None:
    both = await pair(started, metaserver, prefill=prefill, decode=decode)
    sequence = both.asked()
    assert await both.decode.match(sequence, 0) == 10
    untouched = both.here.kv((1, 3)).copy()
    await both.decode.load(sequence, 0, 10)
    np.testing.assert_array_equal(both.here.kv(HERE), both.there.kv(THERE))
    np.testing.assert_array_equal(both.here.kv((1, 3)), untouched)
    both.decode.finished(sequence)
    assert both.decode._arrivals.kept == 0
    assert metaserver.reports == [
        {
            "token_ids": [],
            "request_id": "cmpl-r-0",
            "do_remote_prefill": False,
            "do_remote_decode": True,
            "remote_block_ids": [[5, 0, 2]],
            "remote_block_size": [4],
            "remote_engine_id": both.here.engine_id,
            "remote_host": "127.0.0.1",
            "remote_port": both.here.side_ports[0],
            "remote_tp_size": decode,
            "remote_pcp_size": 1,
            "remote_dcp_size": 1,
            "remote_cached_tokens": 0,
        }
    ]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_chunks_and_any_cached_prefix(data: st.DataObject) -> None:
    """However prefill cuts the prompt, whatever either side had cached: what decode lacks arrives."""
    prompt = data.draw(st.integers(1, 40))
    whole = (prompt - 1) // 4
    cached = data.draw(st.integers(0, whole)) * 4
    start = data.draw(st.integers(0, whole)) * 4
    cuts = sorted(data.draw(st.sets(st.integers(start + 1, prompt))) | {prompt})
    count = -(-prompt // 4)
    remote = data.draw(st.permutations(range(12)))[:count]
    local = data.draw(st.permutations(range(12)))[:count]
    sizes = {"prefill": data.draw(st.sampled_from([1, 2])), "decode": data.draw(st.sampled_from([1, 2, 4]))}

    async def run() -> None:
        running: list[Any] = []

        async def start_one(connector: Any) -> None:
            await connector.start()
            running.append(connector)

        both = await pair(start_one, Metaserver(), **sizes)
        both.prompt, both.blocks = prompt, tuple(remote)
        both.chunks = tuple(zip([start, *cuts], cuts, strict=False))

        async def post(_: str, body: dict[str, Any]) -> None:
            await both.prefilled(body)

        both.decode._http.post = post  # type: ignore[assignment, method-assign]
        sequence = both.asked(blocks=local, params={"metaserver": "http://nowhere"})
        assert await both.decode.match(sequence, cached) == prompt - cached
        expected = both.here.kv(range(12)).copy()
        await both.decode.load(sequence, cached, prompt - cached)
        expected[:, :, local[cached // 4 :]] = both.there.kv(remote[cached // 4 :])
        np.testing.assert_array_equal(both.here.kv(range(12)), expected)
        both.decode.finished(sequence)
        for connector in running:
            await connector.close()

    asyncio.run(run())


async def test_layers_leave_before_the_prompt_is_computed(started: Started, metaserver: Metaserver) -> None:
    both = await pair(started, metaserver)
    computed = asyncio.Event()

    async def slowly(report: dict[str, Any]) -> None:
        leg = make_sequence(10, request_id="p", params=report, blocks=THERE)
        both.prefill.layer_computed(leg, 0, 0, 8)
        await computed.wait()
        for layer in range(CONFIG.layers):
            both.prefill.layer_computed(leg, layer, 8, 10)
        leg.finish = Finish.LENGTH
        both.prefill.finished(leg)

    metaserver.then = slowly
    sequence = both.asked()
    loading = asyncio.create_task(both.decode.load(sequence, 0, 10))
    size = 2 * 2 * 4 * 4 * 4 * 4  # K and V, blocks, tokens, heads, head size, bytes
    await settled(lambda: both.decode._arrivals.kept == size)
    assert not loading.done()
    computed.set()
    await loading
    np.testing.assert_array_equal(both.here.kv(HERE), both.there.kv(THERE))


async def test_a_block_leaves_when_all_of_it_is_computed(started: Started, metaserver: Metaserver) -> None:
    both = await pair(started, metaserver)

    async def in_chunks(report: dict[str, Any]) -> None:
        leg = make_sequence(10, request_id="p", params=report, blocks=THERE)
        for start, end in ((0, 6), (6, 10)):
            both.there.memories[0].kv[...] = end  # What a chunk computes changes the blocks that it is in.
            for layer in range(CONFIG.layers):
                both.prefill.layer_computed(leg, layer, start, end)
        leg.finish = Finish.LENGTH
        both.prefill.finished(leg)

    metaserver.then = in_chunks
    await both.decode.load(both.asked(), 0, 10)
    assert [both.here.kv((block,)).max() for block in HERE] == [6, 10, 10]


async def test_what_decode_has_already_is_not_sent(started: Started, metaserver: Metaserver) -> None:
    both = await pair(started, metaserver)
    await both.decode.load(both.asked(), 4, 6)
    assert metaserver.reports[0]["remote_cached_tokens"] == 4
    assert both.decode._arrivals.kept == CONFIG.layers * 2 * 2 * 4 * 4 * 4 * 4  # K and V of two blocks


async def test_all_choices_get_it_and_one_report_is_made(started: Started, metaserver: Metaserver) -> None:
    both = await pair(started, metaserver)
    places = [(5, 0, 2), (8, 9, 10)]
    choices = [both.asked(blocks=at, choice=number) for number, at in enumerate(places)]
    for sequence, at in zip(choices, places, strict=True):
        assert await both.decode.match(sequence, 0) == 10
        await both.decode.load(sequence, 0, 10)
        both.decode.finished(sequence)
        np.testing.assert_array_equal(both.here.kv(at), both.there.kv(THERE))
    assert len(metaserver.reports) == 1
    assert both.decode._arrivals.kept == 0
    assert not both.decode._expected


async def test_a_choice_that_has_more_cached_takes_the_rest(started: Started, metaserver: Metaserver) -> None:
    both = await pair(started, metaserver)
    first, second = both.asked(), both.asked(blocks=(8, 9, 10), choice=1)
    await both.decode.load(first, 0, 10)
    before = both.here.kv((8, 9)).copy()
    await both.decode.load(second, 8, 2)
    np.testing.assert_array_equal(both.here.kv((8, 9)), before)
    np.testing.assert_array_equal(both.here.kv((10,)), both.there.kv(THERE[2:]))


async def test_a_choice_that_has_less_cached(started: Started, metaserver: Metaserver) -> None:
    both = await pair(started, metaserver)
    first, second = both.asked(), both.asked(choice=1)
    await both.decode.load(first, 8, 2)
    with pytest.raises(LoadFailed, match="8 tokens were reported as cached, here are 4"):
        await both.decode.load(second, 4, 6)


async def test_chats_are_called_what_vllm_calls_them(started: Started, metaserver: Metaserver) -> None:
    both = await pair(started, metaserver)
    params = {"do_remote_prefill": True, "metaserver": metaserver.url}
    sequence = make_sequence(10, params=params, blocks=HERE)
    sequence.id = "chatcmpl-r-0a1b2c3d-0"
    both.decode.queued(sequence)
    await both.decode.load(sequence, 0, 10)
    assert metaserver.reports[0]["request_id"] == "chatcmpl-r"
    completion = make_sequence(10, request_id="s", params=params, blocks=HERE)
    completion.id = "cmpl-s-0a1b2c3d-0"
    both.decode.queued(completion)
    await both.decode.load(completion, 0, 10)
    assert metaserver.reports[1]["request_id"] == "cmpl-s-0"


@pytest.mark.parametrize("finish", [Finish.ABORT, Finish.ERROR])
async def test_decode_hears_when_prefill_ends_too_soon(
    started: Started, metaserver: Metaserver, finish: Finish
) -> None:
    both = await pair(started, metaserver)
    both.chunks, both.finish = ((0, 8),), finish
    with pytest.raises(LoadFailed, match=f"prefill ended with {finish} before the prompt was computed"):
        await asyncio.wait_for(both.decode.load(both.asked(), 0, 10), 5)


@pytest.mark.parametrize("status", [404, 502])
async def test_a_metaserver_that_answers_an_error(
    started: Started, metaserver: Metaserver, status: int
) -> None:
    both = await pair(started, metaserver)
    metaserver.status, metaserver.then = status, None
    with pytest.raises(LoadFailed, match=f"metaserver: POST .* answered {status}"):
        await asyncio.wait_for(both.decode.load(both.asked(), 0, 10), 5)
    assert len(metaserver.reports) == 1


async def test_a_metaserver_that_is_not_there(started: Started, metaserver: Metaserver) -> None:
    both = await pair(started, metaserver)
    url = f"http://127.0.0.1:{free_ports(1)[0]}/"
    with pytest.raises(LoadFailed, match=r"metaserver: POST .* \(3 attempts\)"):
        await asyncio.wait_for(both.decode.load(both.asked(params={"metaserver": url}), 0, 10), 5)


async def test_a_prefill_that_sends_nothing(
    started: Started, metaserver: Metaserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layerwise, "_LATER_S", 0.1)
    both = await pair(started, metaserver)
    metaserver.then = None
    with pytest.raises(LoadFailed, match="prefill answered, but not all of it came"):
        await asyncio.wait_for(both.decode.load(both.asked(), 0, 10), 5)


async def test_nothing_comes_for_long(started: Started, metaserver: Metaserver) -> None:
    both = await pair(started, metaserver, wait_timeout=0.3)

    async def forever(_: dict[str, Any]) -> None:
        await asyncio.sleep(1)

    metaserver.then = forever
    with pytest.raises(LoadFailed, match=r"after 0\.3 s 9 of 9|no answer within 0\.3 s"):
        await both.decode.load(both.asked(), 0, 10)


async def test_an_aborted_decode_is_not_written(
    started: Started, metaserver: Metaserver, caplog: pytest.LogCaptureFixture
) -> None:
    both = await pair(started, metaserver)
    both.there.transfer_delay_s = 0.2
    sequence = both.asked()
    before = both.here.kv(range(12)).copy()
    loading = asyncio.create_task(both.decode.load(sequence, 0, 10))
    await settled(lambda: metaserver.reports)
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    sequence.finish = Finish.ABORT
    both.decode.finished(sequence)
    await asyncio.sleep(0.4)
    np.testing.assert_array_equal(both.here.kv(range(12)), before)
    assert both.decode._arrivals.kept == 0
    assert "did not get to" not in caplog.text


async def test_decode_is_gone_when_prefill_sends(
    started: Started, metaserver: Metaserver, caplog: pytest.LogCaptureFixture
) -> None:
    """Prefill answers all the same, and says whom it did not reach; nothing was written."""
    both = await pair(started, metaserver)
    both.there.transfer_delay_s = 0.1
    before = both.here.kv(range(12)).copy()
    loading = asyncio.create_task(both.decode.load(both.asked(), 0, 10))
    await settled(lambda: metaserver.reports)
    await both.decode.close()
    await asyncio.wait_for(both.prefilled(metaserver.reports[0]), 10)
    assert f"cmpl-r-0 did not get to engine {both.here.engine_id}" in caplog.text
    np.testing.assert_array_equal(both.here.kv(range(12)), before)
    loading.cancel()


async def test_blocks_that_were_not_reported(started: Started, metaserver: Metaserver) -> None:
    both = await pair(started, metaserver)
    both.metaserver.then = lambda report: both.prefilled({**report, "remote_block_ids": [[5, 4, 2]]})
    with pytest.raises(LoadFailed, match=r"reported blocks \[5, 0, 2\], not \[5, 4, 2\]"):
        await asyncio.wait_for(both.decode.load(both.asked(), 0, 10), 5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"request_id": None}, "request_id: expected a text, got None"),
        ({"remote_host": 1}, "remote_host: expected a text, got 1"),
        ({"remote_port": None}, "remote_port: expected an integer"),
        ({"remote_engine_id": ""}, "remote_engine_id: expected a text"),
        ({"remote_block_ids": []}, "remote_block_ids: expected a list of block ids"),
        ({"remote_cached_tokens": -1}, "remote_cached_tokens: expected an integer from 0, got -1"),
        ({"remote_block_size": [8]}, r"remote_block_size: expected 4, as here, got \[8\]"),
        ({"remote_tp_size": 0}, "remote_tp_size: expected an integer from 1, got 0"),
    ],
)
async def test_a_report_that_makes_no_sense(
    started: Started, metaserver: Metaserver, change: dict[str, Any], message: str
) -> None:
    both = await pair(started, metaserver)
    report = {
        "do_remote_decode": True,
        "request_id": "cmpl-r-0",
        "remote_host": "127.0.0.1",
        "remote_port": 1,
        "remote_engine_id": "x",
        "remote_block_ids": [[1, 2, 3]],
        "remote_cached_tokens": 0,
        "remote_block_size": 4,
    }
    leg = make_sequence(10, params={**report, **change}, blocks=THERE)
    with pytest.raises(BadParams, match=message):
        await both.prefill.match(leg, 0)
    leg.finish = Finish.ERROR
    both.prefill.finished(leg)


async def test_a_decode_without_a_metaserver(started: Started, metaserver: Metaserver) -> None:
    both = await pair(started, metaserver)
    sequence = both.asked(params={"metaserver": None})
    with pytest.raises(BadParams, match="metaserver: expected a text, got None"):
        await both.decode.match(sequence, 0)
    both.decode.finished(sequence)
    assert not both.decode._expected


async def test_other_requests_are_left_alone(started: Started, metaserver: Metaserver) -> None:
    both = await pair(started, metaserver)
    for params in (None, {}, {"do_remote_prefill": False}):
        sequence = make_sequence(10, params=params, blocks=HERE)
        both.decode.queued(sequence)
        assert await both.decode.match(sequence, 0) == 0
        both.decode.layer_computed(sequence, 0, 0, 10)
        await both.decode.load(sequence, 0, 0)
        assert both.decode.finished(sequence).answer_after is None
    assert metaserver.reports == []
