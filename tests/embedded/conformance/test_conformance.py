"""The embedded engine answers as vLLM 0.32 does: status, shape, and meaning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from . import semantics
from .allowed import ALLOWED, allowed
from .cases import CASES, REFUSED
from .exchange import EVENTS, Exchange
from .shapes import Shape, differences, merged, shape
from .stream import kind, whole

Answers = Mapping[str, Exchange]

NAMES = [case.name for case in CASES if case.name != "metrics"]
GENERATING = [case.name for case in CASES if "completions" in case.path and case not in REFUSED]


@pytest.fixture(params=["embedded", "vllm"])
def answers(request: pytest.FixtureRequest) -> Any:
    """Meaning is checked on both, so that the checks themselves are: vLLM has the last word."""
    return request.getfixturevalue("ours" if request.param == "embedded" else "theirs")


def _shapes(exchange: Exchange) -> dict[str, Shape]:
    """Of a stream by kind of event; all with tokens as one, since servers merge them as they like."""
    if exchange.events is None:
        return {"": shape(exchange.body)}
    found: dict[str, Shape] = {}
    for event in exchange.events:
        part = kind(event).removeprefix("last ")
        found[part] = merged([found.get(part, {}), shape(event)])
    return found


@pytest.mark.parametrize("name", NAMES)
def test_status_and_shape(name: str, theirs: Answers, ours: Answers) -> None:
    if ours[name].status != theirs[name].status:
        assert allowed(name, "status"), f"status {ours[name].status}, vLLM has {theirs[name].status}"
        return
    assert ours[name].content_type == theirs[name].content_type
    expected, seen = _shapes(theirs[name]), _shapes(ours[name])
    assert expected.keys() == seen.keys()
    found = [
        f"{part}{path}: {what}"
        for part in expected
        for path, what in differences(expected[part], seen[part])
        if not allowed(name, path)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", NAMES)
def test_errors_are_of_the_same_family(name: str, theirs: Answers, ours: Answers) -> None:
    if theirs[name].status != ours[name].status or "error" not in (theirs[name].body or {}):
        return
    for (what, expected), (_, seen) in zip(
        semantics.errors(theirs[name]), semantics.errors(ours[name]), strict=True
    ):
        assert seen == expected or allowed(name, what), f"{what} {seen!r}, vLLM has {expected!r}"


@pytest.mark.parametrize("name", GENERATING)
def test_meaning(name: str, answers: Answers) -> None:
    semantics.check(answers[name])


@pytest.mark.parametrize(
    ("streamed", "at_once"),
    [
        ("stream-base", "base"),
        ("stream-n3", "n3"),
        ("stream-id-lists", "id-lists"),
        ("stream-one-token", "one-token"),
        ("stream-stop-id", "stop-id"),
        ("stream-stop-string", "stop-string"),
        ("stream-stop-included", "stop-string-included"),
        ("stream-stop-at-once", "stop-at-once"),
        ("chat-stream-base", "chat-base"),
        ("chat-stream-n2", "chat-n2"),
        ("chat-stream-prompt-text", "chat-prompt-text"),
        ("chat-stream-stop-string", "chat-stop-string"),
    ],
)
def test_a_stream_has_what_the_whole_answer_has(streamed: str, at_once: str, answers: Answers) -> None:
    stream, answer = whole(answers[streamed]), answers[at_once].body
    for part, choice in zip(stream["choices"], answer["choices"], strict=True):
        for field in part.keys() - {"message"}:
            assert part[field] == choice[field], field
        if "message" in part:
            assert part["message"].items() <= choice["message"].items()
    assert stream.get("prompt_text") == answer.get("prompt_text")
    assert stream.get("prompt_token_ids") == answer.get("prompt_token_ids")


def _ids(exchange: Exchange, choice: int = 0) -> list[int]:
    ids: list[int] = exchange.body["choices"][choice]["token_ids"]
    return ids


def test_seeds(answers: Answers) -> None:
    assert _ids(answers["seeded"]) == _ids(answers["seeded-again"]) == _ids(answers["n3"])
    assert _ids(answers["seeded-otherwise"]) == _ids(answers["n3"], 1) != _ids(answers["n3"])


@pytest.mark.parametrize(
    "name", ["top-k-1", "top-p-tiny", "one-token", "logprobs-0", "prompt-logprobs-2", "nulls"]
)
def test_greedy_however_it_is_asked_for(name: str, answers: Answers) -> None:
    ids = _ids(answers[name])
    assert ids == _ids(answers["base"])[: len(ids)]


def test_log_probabilities_do_not_depend_on_how_many_are_asked_for(answers: Answers) -> None:
    few, many = (answers[f"logprobs-{count}"].body["choices"][0]["logprobs"] for count in (0, 5))
    assert few["token_logprobs"] == many["token_logprobs"]


def test_stops_cut_the_same_text(answers: Answers) -> None:
    text = answers["base"].body["choices"][0]["text"]
    stop = answers["stop-string"].request["stop"]
    assert answers["stop-string"].body["choices"][0]["text"] == text[: text.index(stop)]
    included = answers["stop-string-included"].body["choices"][0]["text"]
    assert included == text[: text.index(stop) + len(stop)]
    assert answers["stop-strings"].body["choices"][0]["stop_reason"] == stop
    assert answers["stop-at-once"].body["choices"][0]["text"] == ""
    with_id, without = (answers[name].body["choices"][0]["text"] for name in ("stop-id-included", "stop-id"))
    assert text.startswith(with_id)
    assert with_id.startswith(without)
    assert len(without) < len(with_id)


def test_prefix_hits_are_told(answers: Answers) -> None:
    cold, warm = (
        answers[name].body["usage"]["prompt_tokens_details"]["cached_tokens"] for name in ("cold", "warm")
    )
    assert warm == 96
    assert cold in {0, 96}  # the recording was made of a server that had been asked before
    assert _ids(answers["cold"]) == _ids(answers["warm"])


def test_what_was_never_asked_is_not_cached(ours: Answers) -> None:
    assert ours["cold"].body["usage"]["prompt_tokens_details"]["cached_tokens"] == 0


def test_names_of_requests(answers: Answers) -> None:
    assert answers["request-id"].body["id"] == "cmpl-named-by-the-client"
    assert answers["chat-request-id"].body["id"] == "chatcmpl-named-by-the-client"
    assert answers["request-id-in-the-body"].body["id"] == "cmpl-named-in-the-body"


def test_limits_of_the_context(answers: Answers) -> None:
    assert answers["chat-no-limit"].body["usage"]["total_tokens"] == 2048
    for name in ("up-to-the-limit", "max-tokens-clamped"):
        assert answers[name].body["usage"]["completion_tokens"] == 4


def test_the_chat_template(answers: Answers) -> None:
    assert answers["chat-prompt-text"].body["prompt_text"] == (
        "system: Be brief.\nuser: What is a block?\nassistant:"
    )
    tokens = answers["tokenize-chat"].body["tokens"]
    assert answers["chat-prompt-text"].body["prompt_token_ids"] == tokens


def test_tokenize(answers: Answers) -> None:
    plain, named = answers["tokenize"].body, answers["tokenize-strings"].body
    assert plain["count"] == len(plain["tokens"]) == len(named["token_strs"])
    assert plain["tokens"] == named["tokens"]
    assert plain["max_model_len"] == 2048


def test_models(answers: Answers) -> None:
    (model,) = answers["models"].body["data"]
    assert (model["id"], model["max_model_len"], model["root"]) == ("tiny", 2048, model["root"])


def test_metrics_are_vllms(theirs: Answers, ours: Answers) -> None:
    expected, seen = theirs["metrics"].body, ours["metrics"].body
    mine = {name: family for name, family in seen.items() if name.startswith("vllm:")}
    assert "vllm:prompt_tokens_by_source" in mine
    strange = [name for name in mine if mine[name] != expected.get(name) and not allowed("metrics", name)]
    assert strange == []


def test_every_status_that_may_differ_does(theirs: Answers, ours: Answers) -> None:
    for difference in ALLOWED:
        if difference.where == "status":
            assert theirs[difference.cases].content_type.startswith(EVENTS)
            assert ours[difference.cases].status == 400
