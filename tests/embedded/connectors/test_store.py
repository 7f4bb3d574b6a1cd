from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pdtest.embedded.connectors.connector import LoadFailed
from pdtest.embedded.connectors.options import BadConfig
from pdtest.embedded.connectors.registry import connector_for
from pdtest.embedded.connectors.store import AscendStoreConnector
from pdtest.embedded.engine.sequence import Finish
from pdtest.embedded.engine.sequence import Sequence as EngineSequence
from pdtest.embedded.store.client import StoreClient
from pdtest.embedded.store.meta import MetaService
from pdtest.embedded.store.settings import StoreSettings
from tests.ports import free_ports

from .conftest import Started
from .fakes import CONFIG, FakeHost, make_host, make_sequence

THERE: tuple[int, ...] = (3, 1, 7)
HERE: tuple[int, ...] = (5, 0, 2)


@pytest.fixture
async def meta() -> AsyncIterator[MetaService]:
    service = MetaService(StoreSettings(port=0, http_port=1, segment_mib=4))
    await service.start()
    yield service
    await service.close()


def config(meta: MetaService, **values: Any) -> dict[str, Any]:
    extra = {"store": f"127.0.0.1:{meta.port}", **values.pop("extra", {})}
    return {"kv_connector": "AscendStoreConnector", "kv_connector_extra_config": extra, **values}


@dataclass
class Pair:
    saver: AscendStoreConnector
    there: FakeHost
    loader: AscendStoreConnector
    here: FakeHost

    async def prefilled(self, prompt: int | Sequence[int] = 10, *, request_id: str = "r") -> EngineSequence:
        sequence = make_sequence(prompt, request_id=request_id, blocks=THERE)
        await computed(self.saver, sequence)
        return sequence


async def computed(
    saver: AscendStoreConnector, sequence: EngineSequence, *chunks: tuple[int, int], cached: int = 0
) -> None:
    """Let ``saver`` see the prompt computed and the sequence ended."""
    saver.queued(sequence)
    await saver.match(sequence, cached)
    for start, end in chunks or ((cached, len(sequence.prompt)),):
        for layer in range(CONFIG.layers):
            saver.layer_computed(sequence, layer, start, end)
    sequence.finish = Finish.LENGTH
    handover = saver.finished(sequence)
    assert handover.params is None
    assert not handover.hold
    if handover.answer_after is not None:
        await handover.answer_after


async def pair(started: Started, meta: MetaService, *, saver: int = 1, loader: int = 1) -> Pair:
    there, here = make_host(ranks=saver, seed=1), make_host(ranks=loader, seed=2)
    both = Pair(
        AscendStoreConnector(config(meta), there), there, AscendStoreConnector(config(meta), here), here
    )
    await started(both.saver)
    await started(both.loader)
    return both


@pytest.mark.parametrize(("saver", "loader"), [(1, 1), (1, 2), (2, 1), (2, 4), (4, 4)])
async def test_what_one_saves_another_loads(
    started: Started, meta: MetaService, saver: int, loader: int
) -> None:
    both = await pair(started, meta, saver=saver, loader=loader)
    await both.prefilled()
    sequence = make_sequence(10, request_id="other", blocks=HERE)
    assert await both.loader.match(sequence, 0) == 8
    untouched = both.here.kv((2, 3)).copy()
    await both.loader.load(sequence, 0, 8)
    np.testing.assert_array_equal(both.here.kv(HERE[:2]), both.there.kv(THERE[:2]))
    np.testing.assert_array_equal(both.here.kv((2, 3)), untouched)
    assert both.here.metric("ascend_store_load_get_keys_total") == 2
    assert both.here.metric("ascend_store_load_get_duration_seconds_count") == 1


@pytest.mark.parametrize(
    ("prompt", "cached", "promised"),
    [(3, 0, 0), (4, 0, 3), (5, 0, 4), (8, 0, 7), (8, 4, 3), (9, 4, 4), (10, 8, 0), (12, 8, 3), (12, 0, 11)],
)
async def test_how_much_is_promised(
    started: Started, meta: MetaService, prompt: int, cached: int, promised: int
) -> None:
    both = await pair(started, meta)
    await both.prefilled(prompt)
    sequence = make_sequence(prompt, request_id="other", blocks=HERE)
    assert await both.loader.match(sequence, cached) == promised
    await both.loader.load(sequence, cached, promised)
    loaded = slice(cached // 4, -(-(cached + promised) // 4))
    np.testing.assert_array_equal(both.here.kv(HERE[loaded]), both.there.kv(THERE[loaded]))


async def test_a_block_stands_for_all_tokens_up_to_it(started: Started, meta: MetaService) -> None:
    both = await pair(started, meta)
    await both.prefilled([1, 2, 3, 4, 5, 6, 7, 8, 9])
    for prompt, promised in (
        ([1, 2, 3, 4, 5, 6, 7, 8, 0], 8),
        ([1, 2, 3, 4, 0, 6, 7, 8, 9], 4),
        ([0, 2, 3, 4, 5, 6, 7, 8, 9], 0),
        ([5, 6, 7, 8, 9], 0),
    ):
        assert await both.loader.match(make_sequence(prompt, request_id=str(prompt)), 0) == promised


async def test_other_models_and_block_sizes_share_nothing(
    started: Started, meta: MetaService, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = await pair(started, meta)
    await both.prefilled()
    seeded = CONFIG.__class__(**{**CONFIG.__dict__, "seed": 1})
    for host in (
        make_host(config=seeded),
        make_host(block_size=8),
        make_host(labels={"model_name": "x", "engine": "0"}),
    ):
        stranger = AscendStoreConnector(config(meta), host)
        await started(stranger)
        assert await stranger.match(make_sequence(10), 0) == 0
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    stranger = AscendStoreConnector(config(meta), make_host())
    await started(stranger)
    assert await stranger.match(make_sequence(10), 0) == 0


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_chunks(data: st.DataObject) -> None:
    """However the prompt is cut into chunks, and whatever was cached: every whole block is saved."""
    prompt = data.draw(st.integers(1, 40))
    cached = data.draw(st.integers(0, (prompt - 1) // 4)) * 4
    cuts = sorted(data.draw(st.sets(st.integers(cached + 1, prompt))) | {prompt})
    chunks = list(zip([cached, *cuts], cuts, strict=False))

    async def run() -> None:
        meta = MetaService(StoreSettings(port=0, http_port=1, segment_mib=4))
        await meta.start()
        host = make_host()
        saver = AscendStoreConnector(config(meta), host)
        await saver.start()
        await computed(saver, make_sequence(prompt, blocks=range(12)), *chunks, cached=cached)
        other = make_sequence(prompt, request_id="other")
        whole = prompt // 4 * 4
        assert await saver.match(other, 0) == (whole - 1 if whole == prompt else whole)
        await saver.close()
        await meta.close()

    asyncio.run(run())


async def test_nothing_is_saved_before_the_last_layer(started: Started, meta: MetaService) -> None:
    both = await pair(started, meta)
    sequence = make_sequence(10, blocks=THERE)
    for layer in range(CONFIG.layers - 1):
        both.saver.layer_computed(sequence, layer, 0, 10)
    assert both.saver.finished(sequence).answer_after is None
    assert await both.loader.match(make_sequence(10, request_id="other"), 0) == 0


async def test_a_prefix_ends_at_the_first_hole(started: Started, meta: MetaService) -> None:
    both = await pair(started, meta)
    await both.prefilled(12)
    other = make_sequence(12, request_id="other")
    await both.saver._pool.remove_many(both.saver._keys_of(other)[1:2])  # type: ignore[attr-defined]
    assert await both.loader.match(other, 0) == 4
    assert await both.loader.match(make_sequence(12, request_id="third"), 8) == 0


async def test_what_another_sequence_saves_is_waited_for(
    started: Started, meta: MetaService, caplog: pytest.LogCaptureFixture
) -> None:
    """Two prompts with one beginning at once: it is saved once, and both answers wait for that."""
    both = await pair(started, meta)
    both.there.transfer_delay_s = 0.1
    first = make_sequence(9, request_id="first", blocks=THERE)
    second = make_sequence(9, request_id="second", blocks=THERE)
    both.saver.layer_computed(first, CONFIG.layers - 1, 0, 9)
    saving = set(both.saver._on_the_way.values())
    both.saver.layer_computed(second, CONFIG.layers - 1, 0, 9)
    assert set(both.saver._on_the_way.values()) == saving
    second.finish = Finish.LENGTH
    handover = both.saver.finished(second)
    assert handover.answer_after is not None
    await handover.answer_after
    assert await both.loader.match(make_sequence(9, request_id="other"), 0) == 8
    assert both.saver._on_the_way == {}
    assert caplog.text == ""


async def test_who_stops_waiting_does_not_stop_the_saving(started: Started, meta: MetaService) -> None:
    both = await pair(started, meta)
    both.there.transfer_delay_s = 0.1
    waiting = asyncio.create_task(both.prefilled())
    await asyncio.sleep(0.05)
    waiting.cancel()
    await asyncio.sleep(0.2)
    assert await both.loader.match(make_sequence(10, request_id="other"), 0) == 8


async def test_blocks_may_change_once_they_were_seen(started: Started, meta: MetaService) -> None:
    both = await pair(started, meta)
    both.there.transfer_delay_s = 0.05
    before = both.there.kv(THERE[:2]).copy()
    sequence = make_sequence(10, blocks=THERE)
    both.saver.layer_computed(sequence, CONFIG.layers - 1, 0, 10)
    both.there.memories[0].kv[...] = 0
    sequence.finish = Finish.LENGTH
    handover = both.saver.finished(sequence)
    assert handover.answer_after is not None
    await handover.answer_after
    other = make_sequence(10, request_id="other", blocks=HERE)
    await both.loader.load(other, 0, 8)
    np.testing.assert_array_equal(both.here.kv(HERE[:2]), before)


class Holey(StoreClient):
    """A pool that loses or damages what it promised."""

    lost: int | None = None
    damaged: int | None = None

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        contents = await super().get_many(keys)
        if self.lost is not None:
            contents[self.lost] = None
        if self.damaged is not None:
            contents[self.damaged] = (contents[self.damaged] or b"")[:-4]
        return contents


@pytest.mark.parametrize(("harm", "reason"), [("lost", "is gone, or damaged"), ("damaged", "cannot reshape")])
async def test_a_block_that_does_not_come(
    started: Started, meta: MetaService, harm: str, reason: str
) -> None:
    both = await pair(started, meta)
    await both.prefilled(12)
    pools: list[Holey] = []

    def join(*args: Any, **values: Any) -> Holey:
        pools.append(Holey(*args, **values))
        return pools[-1]

    loader = AscendStoreConnector(config(meta), both.here, join)
    await started(loader)
    setattr(pools[0], harm, 1)
    sequence = make_sequence(12, request_id="other", blocks=HERE)
    assert await loader.match(sequence, 0) == 11
    with pytest.raises(LoadFailed, match=f"block 1 of 3: .*{reason}") as caught:
        await loader.load(sequence, 0, 11)
    assert caught.value.arrived == 4
    np.testing.assert_array_equal(both.here.kv(HERE[:1]), both.there.kv(THERE[:1]))
    # What is computed instead is saved again.
    loader.layer_computed(sequence, CONFIG.layers - 1, 4, 12)
    assert loader.finished(sequence).answer_after is not None


async def test_what_the_pool_has_is_not_saved_again(started: Started, meta: MetaService) -> None:
    both = await pair(started, meta)
    await both.prefilled(8)
    sequence = make_sequence(12, request_id="other", blocks=HERE)
    assert await both.loader.match(sequence, 0) == 8
    both.loader.layer_computed(sequence, CONFIG.layers - 1, 8, 11)
    assert both.loader.finished(sequence).answer_after is None


async def test_a_pool_that_went_away(started: Started, meta: MetaService) -> None:
    both = await pair(started, meta)
    await both.prefilled()
    await meta.close()
    sequence = make_sequence(10, request_id="other", blocks=HERE)
    assert await both.loader.match(sequence, 0) == 0
    with pytest.raises(LoadFailed, match="from the store"):
        await both.loader.load(sequence, 0, 8)
    await both.prefilled([9] * 10, request_id="late")  # Answers come, with nothing saved.


async def test_a_pool_that_is_not_there() -> None:
    host = make_host()
    extra = {"store": f"127.0.0.1:{free_ports(1)[0]}"}

    class Impatient(StoreClient):
        async def start(self, patience_s: float = 0.1) -> None:
            await super().start(min(patience_s, 0.1))

    connector = AscendStoreConnector({"kv_connector_extra_config": extra}, host, Impatient)
    with pytest.raises(OSError, match="store"):
        await connector.start()
    await connector.close()


@pytest.mark.parametrize(
    ("values", "promised"),
    [
        ({"kv_role": "kv_consumer"}, 0),
        ({"kv_role": "kv_consumer", "extra": {"consumer_is_to_load": True}}, 8),
        ({"kv_role": "kv_producer"}, 8),
        ({"kv_role": "kv_both"}, 8),
    ],
)
async def test_who_loads(
    started: Started, meta: MetaService, values: Mapping[str, Any], promised: int
) -> None:
    both = await pair(started, meta)
    await both.prefilled()
    loader = AscendStoreConnector(config(meta, **values), both.here)
    await started(loader)
    assert await loader.match(make_sequence(10, request_id="other"), 0) == promised


@pytest.mark.parametrize(("put", "promised"), [(False, 0), (True, 8)])
async def test_a_consumer_saves_when_it_is_told_to(
    started: Started, meta: MetaService, put: bool, promised: int
) -> None:
    both = await pair(started, meta)
    values = config(meta, kv_role="kv_consumer", extra={"consumer_is_to_put": put})
    consumer = AscendStoreConnector(values, make_host())
    await started(consumer)
    await computed(consumer, make_sequence(10, blocks=THERE))
    assert await both.loader.match(make_sequence(10, request_id="other"), 0) == promised


async def test_an_aborted_sequence_waits_for_nothing(started: Started, meta: MetaService) -> None:
    both = await pair(started, meta)
    sequence = make_sequence(10, blocks=THERE)
    both.saver.layer_computed(sequence, CONFIG.layers - 1, 0, 10)
    sequence.finish = Finish.ABORT
    assert both.saver.finished(sequence).answer_after is None


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({}, "store: expected a text, got None"),
        ({"store": "h:1", "segment_bytes": -1}, "segment_bytes: expected a number of bytes, got -1"),
        ({"store": "h:1", "consumer_is_to_load": 1}, "consumer_is_to_load: expected true or false, got 1"),
    ],
)
def test_a_configuration_that_makes_no_sense(extra: dict[str, Any], message: str) -> None:
    values = {
        "kv_connector": "AscendStoreConnector",
        "kv_role": "kv_consumer" if "consumer_is_to_load" in extra else "kv_both",
        "kv_connector_extra_config": extra,
    }
    with pytest.raises(BadConfig, match=message):
        connector_for(values, make_host())
