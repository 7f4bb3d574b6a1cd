from __future__ import annotations

import httpx
import pytest

from .fakes import EchoCores, echoing


@pytest.mark.parametrize("path", ["/health", "/ping"])
async def test_probes(client: httpx.AsyncClient, path: str) -> None:
    response = await client.get(path)
    assert (response.status_code, response.content) == (200, b"")


async def test_metrics_are_the_registrys(client: httpx.AsyncClient) -> None:
    response = await client.get("/metrics")
    assert "vllm:prompt_tokens_total 0.0" in response.text
    assert response.headers["content-type"] == "text/plain; version=1.0.0; charset=utf-8"


async def test_version(client: httpx.AsyncClient) -> None:
    assert (await client.get("/version")).json() == {"version": "0.32.0+embedded"}


async def test_reset_prefix_cache_asks_all_ranks() -> None:
    cores = EchoCores(3)
    async with echoing(cores) as client:
        assert (await client.post("/reset_prefix_cache")).json() == {"success": True}
        cores.ranks[1].resets = False
        assert (await client.post("/reset_prefix_cache")).json() == {"success": False}


async def test_tokenize_and_back(client: httpx.AsyncClient) -> None:
    found = (await client.post("/tokenize", json={"prompt": "a€", "return_token_strs": True})).json()
    assert found == {
        "count": 4,
        "max_model_len": 64,
        "tokens": [100, 229, 133, 175],
        "token_strs": ["a", "<0xE2>", "<0x82>", "<0xAC>"],
    }
    back = await client.post("/detokenize", json={"tokens": found["tokens"]})
    assert back.json() == {"prompt": "a€"}


async def test_tokenize_a_conversation(client: httpx.AsyncClient) -> None:
    found = (await client.post("/tokenize", json={"messages": [{"role": "user", "content": "Hi"}]})).json()
    back = await client.post("/detokenize", json={"tokens": found["tokens"]})
    assert back.json() == {"prompt": "user: Hi\nassistant:"}


@pytest.mark.parametrize("path", ["/tokenize", "/detokenize"])
async def test_something_must_be_given(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.post(path, json={})).status_code == 400
    assert (await client.post(path, json={"model": "other"})).status_code == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"authorization": "Bearer wrong"}, 401),
        ({"authorization": "Basic secret"}, 401),
        ({"authorization": "bearer secret"}, 200),
    ],
)
async def test_the_api_key_guards_what_begins_with_v1(headers: dict[str, str], status: int) -> None:
    async with echoing(EchoCores(), api_key="secret") as client:
        response = await client.get("/v1/models", headers=headers)
        assert response.status_code == status
        if status == 401:
            assert response.json() == {"error": "Unauthorized"}
        assert (await client.get("/health")).status_code == 200
