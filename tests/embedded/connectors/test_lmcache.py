from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import numpy as np
import pytest

from pdtest.embedded.connectors.lmcache import LMCacheConnectorV1
from pdtest.embedded.connectors.options import BadConfig
from pdtest.embedded.connectors.params import BadParams
from pdtest.embedded.engine.sequence import Finish
from pdtest.embedded.engine.sequence import Sequence as EngineSequence
from pdtest.embedded.store.meta import MetaService
from pdtest.embedded.store.settings import StoreSettings

from .conftest import Started
from .fakes import CONFIG, FakeHost, make_host, make_sequence

CHUNK = 4
THERE, HERE = (3, 1, 7), (5, 0, 2)


@pytest.fixture
async def meta() -> AsyncIterator[MetaService]:
    service = MetaService(StoreSettings(port=0, http_port=1, segment_mib=4))
    await service.start()
    yield service
    await service.close()


def config(address: str, *, role: str = "kv_both", **extra: Any) -> dict[str, Any]:
    described = {"lmcache.remote_url": f"lm://{address}", "lmcache.chunk_size": CHUNK, **extra}
    return {"kv_role": role, "kv_connector_extra_config": described}


async def engine(started: Started, meta: MetaService, host: FakeHost, role: str) -> LMCacheConnectorV1:
    connector = LMCacheConnectorV1(config(f"127.0.0.1:{meta.port}", role=role), host)
    await started(connector)
    return connector


async def computed(
    connector: LMCacheConnectorV1, sequence: EngineSequence, output: tuple[int, ...] = (9,)
) -> Mapping[str, Any] | None:
    """Let it see the prompt computed and answered; the parameters of the answer."""
    connector.queued(sequence)
    await connector.match(sequence, 0)
    for layer in range(CONFIG.layers):
        connector.layer_computed(sequence, layer, 0, len(sequence.prompt))
    sequence.output.extend(output)
    sequence.finish = Finish.LENGTH
    handover = connector.finished(sequence)
    assert not handover.hold
    if handover.answer_after is not None:
        await handover.answer_after
    return handover.params


@pytest.mark.parametrize(
    ("saver", "loader", "promised"),
    [
        ("kv_both", "kv_both", 8),
        ("kv_producer", "kv_consumer", 8),
        ("kv_consumer", "kv_both", 0),
        ("kv_both", "kv_producer", 0),
    ],
)
async def test_producers_only_save_and_consumers_only_load(
    started: Started, meta: MetaService, saver: str, loader: str, promised: int
) -> None:
    there, here = make_host(seed=1), make_host(seed=2)
    await computed(await engine(started, meta, there, saver), make_sequence(10, blocks=THERE))
    decode = await engine(started, meta, here, loader)
    sequence = make_sequence(10, request_id="decode", blocks=HERE)
    assert await decode.match(sequence, 0) == promised
    await decode.load(sequence, 0, promised)
    loaded = [
        np.array_equal(here.memories[0].kv[:, :, own], there.memories[0].kv[:, :, other])
        for own, other in zip(HERE, THERE, strict=True)
    ]
    assert loaded == [bool(promised), bool(promised), False]
    assert here.registry.get_sample_value("lmcache:num_hit_tokens_total", dict(here.labels)) == promised


@pytest.mark.parametrize("asked", [None, {}, {"ret_first_tok": True}])
async def test_the_first_token_is_answered_where_it_is_asked_for(
    started: Started, meta: MetaService, asked: dict[str, Any] | None
) -> None:
    prefill = await engine(started, meta, make_host(), "kv_both")
    sequence = make_sequence(10, blocks=THERE, params=asked)
    assert await computed(prefill, sequence, (42,)) == ({"first_tok": 42} if asked else None)


async def test_an_aborted_request_has_no_first_token(started: Started, meta: MetaService) -> None:
    prefill = await engine(started, meta, make_host(), "kv_both")
    sequence = make_sequence(10, blocks=THERE, params={"ret_first_tok": True})
    assert await computed(prefill, sequence, ()) is None


async def test_the_pd_mode_is_refused(started: Started, meta: MetaService) -> None:
    prefill = await engine(started, meta, make_host(), "kv_producer")
    spec = {"req_id": "1", "receiver_host": "h", "receiver_init_port": [1], "receiver_alloc_port": [2]}
    with pytest.raises(BadParams, match="this engine pushes to no receiver"):
        await prefill.match(make_sequence(10, params={"disagg_spec": spec}), 0)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"lmcache.chunk_size": 256}, r"lmcache.chunk_size: expected 4, the engine's block size, got 256"),
        ({"lmcache.remote_url": "redis://h:1"}, r"lmcache.remote_url: expected lm://host:port"),
        ({"lmcache.remote_url": None}, r"lmcache.remote_url: expected a text"),
    ],
)
def test_a_configuration_that_cannot_be_used(extra: dict[str, Any], message: str) -> None:
    with pytest.raises(BadConfig, match=message):
        LMCacheConnectorV1(config("127.0.0.1:1", **extra), make_host())
