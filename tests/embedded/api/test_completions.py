from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from pdtest.embedded.engine.sequence import Finish
from pdtest.embedded.model.tokenizer import encode

from .fakes import EchoCore

COMPLETIONS = "/v1/completions"


async def ask(
    client: httpx.AsyncClient, headers: dict[str, str] | None = None, **body: Any
) -> dict[str, Any]:
    response = await client.post(COMPLETIONS, json={"prompt": "Hello", **body}, headers=headers)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def stream(client: httpx.AsyncClient, path: str = COMPLETIONS, **body: Any) -> list[Any]:
    """The events of a stream, without the last."""
    response = await client.post(path, json={"prompt": "Hello", **body, "stream": True})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    *events, done, nothing = response.text.split("\n\n")
    assert (done, nothing) == ("data: [DONE]", "")
    return [json.loads(event.removeprefix("data: ")) for event in events]


async def test_sequences_get_what_was_asked_for(client: httpx.AsyncClient, core: EchoCore) -> None:
    await ask(
        client,
        headers={"X-Request-Id": "mine"},
        n=2,
        seed=5,
        temperature=0.7,
        top_p=0.5,
        top_k=3,
        max_tokens=4,
        min_tokens=2,
        stop_token_ids=[9],
        logit_bias={"8": 200},
        logprobs=1,
        kv_transfer_params={"do_remote_decode": True},
    )
    first, second = core.submitted
    assert [sequence.choice for sequence in core.submitted] == [0, 1]
    assert first.id.startswith("cmpl-mine-")
    assert (first.request_id, second.request_id) == ("mine", "mine")
    assert first.id.rpartition("-")[0] == second.id.rpartition("-")[0]
    assert first.prompt == encode("Hello")
    sampling = first.sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k) == (0.7, 0.5, 3)
    assert (sampling.max_tokens, sampling.min_tokens, sampling.logprobs) == (4, 2, 1)
    assert sampling.stop_token_ids == {9}
    assert sampling.logit_bias == {8: 100.0}
    assert (sampling.seed, second.sampling.seed) == (5, 6)
    assert first.kv_transfer_params == {"do_remote_decode": True}


async def test_two_requests_with_the_same_id_are_two_sequences(
    client: httpx.AsyncClient, core: EchoCore
) -> None:
    for _ in range(2):
        assert (await ask(client, headers={"X-Request-Id": "mine"}))["id"] == "cmpl-mine"
    assert len({sequence.id for sequence in core.submitted}) == 2


async def test_choices_count_over_prompts_and_their_numbers(client: httpx.AsyncClient) -> None:
    answer = await ask(client, prompt=["ab", "CDE"], n=2, max_tokens=3, return_token_ids=True)
    assert [choice["text"] for choice in answer["choices"]] == ["ab", "ab", "CDE", "CDE"]
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert [len(choice["prompt_token_ids"]) for choice in answer["choices"]] == [2, 2, 3, 3]
    assert answer["usage"]["prompt_tokens"] == 5
    assert answer["usage"]["completion_tokens"] == 12


async def test_stop_strings_end_the_sequence_in_the_engine(client: httpx.AsyncClient, core: EchoCore) -> None:
    answer = await ask(client, prompt="Hello there", stop=["lo t"])
    choice = answer["choices"][0]
    assert (choice["text"], choice["finish_reason"], choice["stop_reason"]) == ("Hel", "stop", "lo t")
    (sequence,) = core.aborted
    assert sequence.finish is Finish.STOP
    assert answer["usage"]["completion_tokens"] == 7


async def test_streamed_text_never_has_to_be_taken_back(client: httpx.AsyncClient) -> None:
    events = await stream(client, prompt="Hello there", stop=["lo t"], return_token_ids=True)
    parts = [event["choices"][0] for event in events]
    assert [part["text"] for part in parts] == ["H", "e", "", "l", "", "", ""]
    assert [token for part in parts for token in part["token_ids"]] == list(encode("Hello t"))
    assert parts[-1]["stop_reason"] == "lo t"


async def test_what_was_held_back_comes_with_the_last_token(client: httpx.AsyncClient) -> None:
    events = await stream(client, prompt="Hello", stop=["llama"], max_tokens=4)
    assert [event["choices"][0]["text"] for event in events] == ["H", "e", "", "ll"]


async def test_characters_of_several_bytes_come_whole(client: httpx.AsyncClient) -> None:
    events = await stream(client, prompt="a€b")
    assert [event["choices"][0]["text"] for event in events] == ["a", "", "", "€", "b", ""]


async def test_eos_is_silent_and_has_no_reason(client: httpx.AsyncClient) -> None:
    answer = await ask(client, return_token_ids=True)
    choice = answer["choices"][0]
    assert (choice["text"], choice["finish_reason"], choice["stop_reason"]) == ("Hello", "stop", None)
    assert choice["token_ids"] == [*encode("Hello"), 0]


async def test_special_tokens_are_written_out_when_asked_for(client: httpx.AsyncClient) -> None:
    answer = await ask(client, prompt=[68, 2, 69], max_tokens=3, skip_special_tokens=False)
    assert answer["choices"][0]["text"] == "A<bos>B"


async def test_stop_tokens_belong_to_the_ids_but_not_to_the_text(client: httpx.AsyncClient) -> None:
    stop = encode("l")[0]
    answer = await ask(client, stop_token_ids=[stop], return_token_ids=True)
    choice = answer["choices"][0]
    assert (choice["text"], choice["stop_reason"]) == ("He", stop)
    assert choice["token_ids"] == list(encode("Hel"))
    answer = await ask(client, stop_token_ids=[stop], include_stop_str_in_output=True)
    assert answer["choices"][0]["text"] == "Hel"


async def test_logprobs(client: httpx.AsyncClient) -> None:
    answer = await ask(client, max_tokens=1, logprobs=3)
    assert answer["choices"][0]["logprobs"] == {
        "text_offset": [0],
        "token_logprobs": [-1.0],
        "tokens": ["H"],
        "top_logprobs": [{"H": -1.0, "I": -0.5, "K": -9999.0}],
    }
    answer = await ask(client, max_tokens=2, logprobs=0, return_tokens_as_token_ids=True)
    assert answer["choices"][0]["logprobs"] == {
        "text_offset": [0, 11],
        "token_logprobs": [-1.0, -1.0],
        "tokens": ["token_id:75", "token_id:104"],
        "top_logprobs": [{"token_id:75": -1.0}, {"token_id:104": -1.0}],
    }


async def test_text_offsets_go_on_from_chunk_to_chunk(client: httpx.AsyncClient) -> None:
    events = await stream(client, prompt="a€b", max_tokens=5, logprobs=0)
    logprobs = [event["choices"][0]["logprobs"] for event in events]
    assert [one["tokens"] for one in logprobs] == [["a"], [""], [""], ["€"], ["b"]]
    assert [one["text_offset"] for one in logprobs] == [[0], [1], [1], [1], [2]]


async def test_prompt_logprobs(client: httpx.AsyncClient) -> None:
    answer = await ask(client, prompt="ab", prompt_logprobs=1, max_tokens=1)
    assert answer["choices"][0]["prompt_logprobs"] == [
        None,
        {
            "101": {"logprob": -1.0, "rank": 2, "decoded_token": "b"},
            "102": {"logprob": -0.5, "rank": 1, "decoded_token": "c"},
        },
    ]


async def test_cached_tokens(client: httpx.AsyncClient, core: EchoCore) -> None:
    core.cached = 4
    usage = (await ask(client))["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == 4
    events = await stream(client, stream_options={"include_usage": True})
    assert events[-1]["usage"]["prompt_tokens_details"] == {"cached_tokens": 4}


async def test_behind_a_remote_prefill_its_cached_tokens_are_told(
    client: httpx.AsyncClient, core: EchoCore
) -> None:
    core.cached = 4
    params = {"do_remote_prefill": True, "remote_prefill_cached_tokens": 2}
    answer = await ask(client, kv_transfer_params=params)
    assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] == 2


async def test_prefill_hands_over_and_tells_what_was_cached(
    client: httpx.AsyncClient, core: EchoCore
) -> None:
    core.cached = 4
    core.handover = {"do_remote_prefill": True, "remote_block_ids": [[1]]}
    answer = await ask(client, max_tokens=1)
    assert answer["kv_transfer_params"] == {**core.handover, "remote_prefill_cached_tokens": 4}
    answer = await ask(client, max_tokens=2)
    assert answer["kv_transfer_params"] == core.handover
    answer = await ask(client, stop="e")
    assert answer["kv_transfer_params"] is None, "vLLM ends it before the engine does"


async def test_of_several_prompts_the_first_ones_handover_is_told(
    client: httpx.AsyncClient, core: EchoCore
) -> None:
    core.handovers = {2: {"remote_block_ids": [[1]]}, 3: {"remote_block_ids": [[2]]}}
    answer = await ask(client, prompt=["ab", "abc"], max_tokens=1)
    assert answer["kv_transfer_params"] == {"remote_block_ids": [[1]]}


async def test_continuous_usage_is_part_of_the_usage(client: httpx.AsyncClient) -> None:
    events = await stream(client, max_tokens=2, stream_options={"continuous_usage_stats": True})
    assert not any("usage" in event for event in events)


@pytest.mark.parametrize(("tokens", "running"), [(1, [1]), (3, [1, 2, 3])])
async def test_continuous_usage(client: httpx.AsyncClient, tokens: int, running: list[int]) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    *chunks, last = await stream(client, max_tokens=tokens, stream_options=options)
    assert [chunk["usage"]["completion_tokens"] for chunk in chunks] == running
    assert last["usage"]["completion_tokens"] == tokens
    assert last["choices"] == []


async def test_steps_that_come_together_are_told_together(client: httpx.AsyncClient, core: EchoCore) -> None:
    events = await stream(client, n=3, max_tokens=4)
    by_index: dict[int, str] = {}
    for event in events:
        choice = event["choices"][0]
        by_index[choice["index"]] = by_index.get(choice["index"], "") + choice["text"]
    assert by_index == dict.fromkeys(range(3), "Hell")
    assert core.aborted == []
