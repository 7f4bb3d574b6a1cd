from __future__ import annotations

from typing import Any

import httpx

from pdtest.embedded.model.tokenizer import decode

from .fakes import EchoCore
from .test_completions import stream

CHAT = "/v1/chat/completions"
HI = [{"role": "user", "content": "Hi"}]


async def ask(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    response = await client.post(CHAT, json={"messages": HI, **body})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def test_the_prompt_is_the_conversation(client: httpx.AsyncClient, core: EchoCore) -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": parts},
        {"role": "tool"},
    ]
    answer = await ask(client, messages=messages, max_tokens=3, return_prompt_text=True)
    prompt = "system: Be brief.\nuser: one\ntwo\ntool: \nassistant:"
    assert decode(core.submitted[0].prompt) == prompt == answer["prompt_text"]


async def test_max_completion_tokens_goes_before_max_tokens(client: httpx.AsyncClient) -> None:
    answer = await ask(client, max_tokens=9, max_completion_tokens=4)
    assert answer["usage"]["completion_tokens"] == 4


async def test_roles_come_first_for_all_choices(client: httpx.AsyncClient) -> None:
    events = await stream(client, CHAT, messages=HI, n=2, max_tokens=2)
    assert [event["choices"][0]["delta"] for event in events[:2]] == [
        {"role": "assistant", "content": ""}
    ] * 2
    assert [event["choices"][0]["index"] for event in events[:2]] == [0, 1]
    assert "stop_reason" in events[-1]["choices"][0]


async def test_the_role_is_the_last_messages_when_it_goes_on(client: httpx.AsyncClient) -> None:
    answer = await ask(client, add_generation_prompt=False, max_tokens=1)
    assert answer["choices"][0]["message"]["role"] == "user"


async def test_logprobs_have_bytes(client: httpx.AsyncClient) -> None:
    answer = await ask(client, logprobs=True, top_logprobs=1, max_tokens=1, return_tokens_as_token_ids=True)
    label = "token_id:120"
    assert answer["choices"][0]["logprobs"]["content"] == [
        {
            "token": label,
            "logprob": -1.0,
            "bytes": list(b"u"),
            "top_logprobs": [{"token": label, "logprob": -1.0, "bytes": list(label.encode())}],
        }
    ]
    answer = await ask(client, logprobs=True, max_tokens=1)
    assert answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"] == []


async def test_created_cache_tokens(client: httpx.AsyncClient, core: EchoCore) -> None:
    core.cached = 16
    details = (await ask(client, messages=[{"role": "user", "content": "x" * 20}]))["usage"]
    assert details["prompt_tokens"] == 37
    assert details["prompt_tokens_details"] == {
        "cached_tokens": 16,
        "created_cache_tokens": 16,
        "multimodal_tokens": None,
    }


async def test_the_handover_is_that_of_the_last_to_end(client: httpx.AsyncClient, core: EchoCore) -> None:
    core.handover = {"do_remote_prefill": True}
    answer = await ask(client, max_tokens=1)
    assert answer["kv_transfer_params"] == {"do_remote_prefill": True, "remote_prefill_cached_tokens": 0}
