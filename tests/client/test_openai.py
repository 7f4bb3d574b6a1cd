from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from pdtest.client.answer import Candidate
from pdtest.client.openai import Shapeless, read

SAMPLES = Path(__file__).parent / "samples"


@pytest.fixture
def completion() -> dict[str, Any]:
    body: dict[str, Any] = json.loads((SAMPLES / "completion.json").read_text())
    return body


def test_completion(completion: dict[str, Any]) -> None:
    parts = read(completion, is_chat=False)
    (choice,) = parts["choices"]
    assert choice.token_ids == (163, 298)
    assert choice.logprobs == pytest.approx((-0.0057, -0.4192), abs=1e-4)
    assert choice.finish_reason == "length"
    assert parts["prompt_token_ids"] == (70, 293, 12, 44)
    assert parts["prompt_logprobs"][0] is None
    assert parts["prompt_logprobs"][1:] == pytest.approx((-27.1314, -36.5443, -25.7957), abs=1e-4)
    assert parts["usage"].cached_tokens == 0


@pytest.mark.parametrize("name", ["completion", "chat"])
def test_candidates_are_ranked_and_exact(name: str) -> None:
    parts = read(json.loads((SAMPLES / f"{name}.json").read_text()), is_chat=name == "chat")
    (choice,) = parts["choices"]
    assert [len(candidates) for candidates in choice.top] == [2, 2]
    for position, (best, second) in enumerate(choice.top):
        assert best.token_id == choice.token_ids[position]
        assert choice.margin(position) == best.logprob - second.logprob > 0


def test_chosen_token_is_a_candidate_even_when_it_is_not_among_the_best(completion: dict[str, Any]) -> None:
    logprobs = completion["choices"][0]["logprobs"]
    logprobs["top_logprobs"][0] = {"token_id:200": -0.001}
    (choice,) = read(completion, is_chat=False)["choices"]
    assert [candidate.token_id for candidate in choice.top[0]] == [200, 163]
    assert choice.top[0][0] == Candidate(token="token_id:200", token_id=200, logprob=-0.001)  # noqa: S106


def test_server_that_ignores_the_token_id_flag(completion: dict[str, Any]) -> None:
    logprobs = completion["choices"][0]["logprobs"]
    logprobs["tokens"] = ["a", "token_id:x"]
    logprobs["top_logprobs"] = None
    (choice,) = read(completion, is_chat=False)["choices"]
    assert [candidates[0].token_id for candidates in choice.top] == [None, None]
    assert choice.margin(0) is None


def test_no_logprobs_asked_for(completion: dict[str, Any]) -> None:
    completion["choices"][0]["logprobs"] = None
    (choice,) = read(completion, is_chat=False)["choices"]
    assert (choice.logprobs, choice.top, choice.token_ids) == (None, None, (163, 298))


def test_missing_logprob_is_not_a_number(completion: dict[str, Any]) -> None:
    completion["choices"][0]["logprobs"]["token_logprobs"][0] = None
    (choice,) = read(completion, is_chat=False)["choices"]
    assert math.isnan(choice.logprobs[0])


@pytest.mark.parametrize("lost", ["finish_reason", "index", "text"])
def test_lost_field_is_named(lost: str, completion: dict[str, Any]) -> None:
    del completion["choices"][0][lost]
    with pytest.raises(Shapeless, match=rf"choices\.0\.{lost}"):
        read(completion, is_chat=False)


def test_finish_reason_null_is_no_answer(completion: dict[str, Any]) -> None:
    completion["choices"][0]["finish_reason"] = None
    with pytest.raises(Shapeless, match="finish_reason"):
        read(completion, is_chat=False)


@pytest.mark.parametrize("ids", [["163"], [True], 7])
def test_token_ids_are_integers(ids: object, completion: dict[str, Any]) -> None:
    completion["choices"][0]["token_ids"] = ids
    with pytest.raises(Shapeless, match="token_ids"):
        read(completion, is_chat=False)


def test_chat_that_calls_a_tool_has_no_text() -> None:
    body = json.loads((SAMPLES / "chat.json").read_text())
    body["choices"][0]["message"]["content"] = None
    assert read(body, is_chat=True)["choices"][0].text == ""
