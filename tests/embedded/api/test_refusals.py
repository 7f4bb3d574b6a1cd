"""What vLLM says to the same mistakes is in the conformance test; here is what goes beyond."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from .fakes import EchoCore, EchoCores, echoing

HI = [{"role": "user", "content": "Hi"}]


async def refused(client: httpx.AsyncClient, status: int = 400, **body: Any) -> dict[str, Any]:
    path = "/v1/chat/completions" if "messages" in body else "/v1/completions"
    response = await client.post(path, json=body if "messages" in body else {"prompt": "Hello", **body})
    assert response.status_code == status, response.text
    error: dict[str, Any] = response.json()["error"]
    assert error["code"] == status
    return error


async def test_all_that_is_wrong_is_told_at_once(client: httpx.AsyncClient, core: EchoCore) -> None:
    error = await refused(client, max_tokens="many", stop=[5], stream_options=None, ignore_eos=None)
    assert error["message"].splitlines() == [
        "3 validation errors:",
        "  body.max_tokens: expected an integer, seen 'many'",
        "  body.stop.0: expected a string, seen 5",
        "  body.ignore_eos: expected true or false, seen nothing",
    ]
    assert (error["type"], error["param"]) == ("Bad Request", "body.max_tokens")
    assert core.submitted == []


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"stop": ["a", "b", "c", "d", "e"]}, "body.stop"),
        (
            {"stream": True, "stream_options": {"include_usage": "perhaps"}},
            "body.stream_options.include_usage",
        ),
        ({"stream": True, "stream_options": [1]}, "body.stream_options"),
        ({"logit_bias": {"a": 1}}, "body.logit_bias"),
        ({"logit_bias": {"7": "much"}}, "body.logit_bias.7"),
        ({"logit_bias": {"700": 1}}, "logit_bias"),
        ({"stop_token_ids": [259]}, "stop_token_ids"),
        ({"prompt": [[8], "a"]}, "body.prompt.1"),
        ({"prompt": [[8], [-1]]}, "body.prompt.1.0"),
        ({"prompt": ["a"] * 1025}, "prompt"),
        ({"temperature": "nan"}, "temperature"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "body.messages.0.content.0"),
        ({"messages": [{"role": "user", "content": [5]}]}, "body.messages.0.content.0"),
        ({"messages": HI, "top_logprobs": 1}, "top_logprobs"),
    ],
)
async def test_mistakes(client: httpx.AsyncClient, body: dict[str, Any], param: str) -> None:
    assert (await refused(client, **body))["param"] == param


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("echo", True),
        ("presence_penalty", 0.5),
        ("min_p", 0.1),
        ("use_beam_search", True),
        ("suffix", "end"),
        ("response_format", {"type": "json_object"}),
        ("allowed_token_ids", [8]),
    ],
)
async def test_what_would_change_the_answer_is_not_ignored(
    client: httpx.AsyncClient, field: str, value: Any
) -> None:
    error = await refused(client, **{field: value})
    assert error["param"] == field
    assert "embedded engine" in error["message"]


async def test_what_changes_nothing_is(client: httpx.AsyncClient) -> None:
    body = {"echo": False, "presence_penalty": 0.0, "response_format": {"type": "text"}, "bad_words": []}
    response = await client.post("/v1/completions", json={"prompt": "Hello", **body, "unheard_of": 1})
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("given", "read"),
    [({"max_tokens": "3"}, 3), ({"max_tokens": 3.0}, 3), ({"max_tokens": 3, "ignore_eos": "true"}, 3)],
)
async def test_numbers_and_flags_may_be_written_otherwise(
    client: httpx.AsyncClient, core: EchoCore, given: dict[str, Any], read: int
) -> None:
    response = await client.post("/v1/completions", json={"prompt": "Hello", **given})
    assert response.status_code == 200
    assert core.submitted[0].sampling.max_tokens == read


async def test_temperatures(client: httpx.AsyncClient, core: EchoCore) -> None:
    for temperature in (0, 0.001, None):
        body = {"prompt": "Hello", "temperature": temperature, "top_p": 0.5}
        assert (await client.post("/v1/completions", json=body)).status_code == 200
    samplings = [sequence.sampling for sequence in core.submitted]
    assert [sampling.temperature for sampling in samplings] == [0.0, 0.01, 1.0]
    assert [sampling.top_p for sampling in samplings] == [1.0, 0.5, 0.5]


@pytest.mark.parametrize("content", [b"\xff{}", b'{"prompt": "\\ud800"', b"nothing"])
async def test_bodies_that_are_no_json(client: httpx.AsyncClient, content: bytes) -> None:
    response = await client.post(
        "/v1/completions", content=content, headers={"content-type": "application/json"}
    )
    assert response.status_code == 400
    assert "expected a JSON object" in response.json()["error"]["message"]


async def test_half_a_surrogate_pair_can_be_asked_about(client: httpx.AsyncClient) -> None:
    content = b'{"model": "\\ud800", "prompt": "Hello"}'
    response = await client.post(
        "/v1/completions", content=content, headers={"content-type": "application/json"}
    )
    assert response.status_code == 404
    assert "\ud800" in response.json()["error"]["message"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("status", "kind"), [(400, "BadRequestError"), (500, "InternalServerError")])
async def test_a_sequence_that_fails_decides_the_status(
    client: httpx.AsyncClient, core: EchoCore, stream: bool, status: int, kind: str
) -> None:
    core.failure = (0, "no such engine", status)
    error = await refused(client, status, stream=stream, n=2)
    assert error == {"message": "no such engine", "type": kind, "param": None, "code": status}
    assert all(sequence.finish is not None for sequence in core.submitted)


async def test_a_whole_answer_fails_also_when_it_was_half_done(
    client: httpx.AsyncClient, core: EchoCore
) -> None:
    core.failure = (3, "KV did not arrive", 500)
    assert (await refused(client, 500))["message"] == "KV did not arrive"


async def test_a_stream_that_fails_says_so_in_an_event(client: httpx.AsyncClient, core: EchoCore) -> None:
    core.failure = (1, "KV did not arrive", 500)
    response = await client.post("/v1/completions", json={"prompt": "Hello", "stream": True})
    assert response.status_code == 200
    *_, error, done, nothing = response.text.split("\n\n")
    assert error == (
        'data: {"error":{"message":"KV did not arrive","type":"InternalServerError","param":null,"code":500}}'
    )
    assert (done, nothing) == ("data: [DONE]", "")


async def test_a_mistake_of_the_engine_is_an_error_too(
    client: httpx.AsyncClient, core: EchoCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_sequence: object) -> None:
        raise RuntimeError("out of blocks")

    monkeypatch.setattr(core, "submit", broken)
    error = await refused(client, 500)
    assert error["message"] == "RuntimeError: out of blocks"


async def test_data_ranks() -> None:
    cores = EchoCores(2)
    async with echoing(cores, data_ranks=2) as client:
        for rank in ("1", "x", "2"):
            headers = {"X-data-parallel-rank": rank}
            response = await client.post("/v1/completions", json={"prompt": "Hello"}, headers=headers)
            assert response.status_code == (400 if rank == "2" else 200)
    assert [len(core.submitted) for core in cores.ranks] == [1, 1]
