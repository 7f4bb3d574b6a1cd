from __future__ import annotations

import json
from typing import Any

import httpx

from pdtest.client.appearance import Appearance, appearance_of
from pdtest.client.endpoint import Endpoint

METRICS = """\
# TYPE vllm:cache_config_info gauge
vllm:cache_config_info{block_size="16",enable_prefix_caching="True",engine="0"} 1.0
"""
MODELS = {"object": "list", "data": [{"id": "qwen", "max_model_len": 4096, "root": "/models/qwen"}]}
SETUP = {
    "model_config": {"dtype": "torch.bfloat16"},
    "cache_config": {"block_size": 128},
    "kv_transfer_config": {"kv_connector": "NixlConnector", "kv_role": "kv_producer"},
}


async def seen(**answers: Any) -> Appearance:
    """An engine with these paths, given as text or JSON; all others it does not have."""

    def answer(request: httpx.Request) -> httpx.Response:
        known = answers.get(request.url.path.strip("/").replace("/", "_"))
        if known is None:
            return httpx.Response(404, json={"detail": "Not Found"})
        return httpx.Response(200, text=known if isinstance(known, str) else json.dumps(known))

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        return await appearance_of(Endpoint("decode", "http://decode:1", model="qwen", http=http))


async def test_an_engine_in_production_tells_by_models_and_metrics() -> None:
    engine = await seen(v1_models=MODELS, metrics=METRICS, version={"version": "0.32.0"})
    card = engine.card("qwen")
    assert card is not None
    assert (card.max_model_len, card.root, engine.version) == (4096, "/models/qwen", "0.32.0")
    assert engine.setting("block_size") == ("16", "vllm:cache_config_info")
    assert engine.setting("dtype") is None
    assert engine.transfer is None


async def test_in_development_mode_it_tells_everything() -> None:
    engine = await seen(v1_models=MODELS, metrics=METRICS, server_info={"vllm_config": SETUP})
    assert engine.setting("block_size") == ("128", "/server_info, cache_config")
    assert engine.transfer == SETUP["kv_transfer_config"]


async def test_without_a_connector_the_transfer_is_known_to_be_empty() -> None:
    engine = await seen(server_info={"vllm_config": SETUP | {"kv_transfer_config": None}})
    assert engine.transfer == {}


async def test_what_is_no_engine_tells_nothing() -> None:
    nothing = await seen(v1_models="<html>", metrics="{", server_info={"vllm_config": "as text"})
    assert (nothing.cards, nothing.version, nothing.setup, nothing.metrics) == (None, None, None, None)
    assert nothing.card("qwen") is None
