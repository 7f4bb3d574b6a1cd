"""What the fields of an answer mean, checked on one answer at a time. The same for every server."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from .cases import COMPLETIONS, MAX_MODEL_LEN, MODEL
from .exchange import Exchange
from .stream import whole


def check(exchange: Exchange) -> None:
    """Of an answer with status 200 to a request for completions."""
    answer = exchange.body if exchange.events is None else whole(exchange)
    request = exchange.request
    _check_head(answer, request, chat=exchange.path != COMPLETIONS)
    prompts = _prompts(answer, request)
    choices = answer["choices"]
    assert [choice["index"] for choice in choices] == list(range(len(choices)))
    assert len(choices) == (request.get("n") or 1) * _asked_prompts(request)
    for number, choice in enumerate(choices):
        prompt = prompts[number // (request.get("n") or 1)] if prompts else None
        _check_choice(choice, request, prompt)
        _check_prompt_logprobs(choice.get("prompt_logprobs"), request, prompt)
    _check_prompt_logprobs(answer.get("prompt_logprobs"), request, prompts[0] if prompts else None)
    _check_usage(answer, prompts)
    assert answer.get("kv_transfer_params") is None, "there is no connector"


def _check_head(answer: dict[str, Any], request: dict[str, Any], *, chat: bool) -> None:
    assert answer["id"].startswith("chatcmpl-" if chat else "cmpl-")
    assert answer["model"] == MODEL
    assert answer["created"] > 1_700_000_000
    if "request_id" in request:
        assert answer["id"].endswith(request["request_id"])


def _asked_prompts(request: dict[str, Any]) -> int:
    prompt = request.get("prompt")
    return len(prompt) if isinstance(prompt, list) and not isinstance(prompt[0], int) else 1


def _prompts(answer: dict[str, Any], request: dict[str, Any]) -> list[list[int]]:
    """Token ids of the prompts, as far as the answer has them. They are those that were sent."""
    if not request.get("return_token_ids"):
        return []
    if "prompt" not in request:
        return [answer["prompt_token_ids"]]
    step = request.get("n") or 1
    found = [choice["prompt_token_ids"] for choice in answer["choices"][::step]]
    sent = request["prompt"]
    if isinstance(sent, list) and isinstance(sent[0], int):
        assert found == [[int(token) for token in sent]]
    elif isinstance(sent, list) and isinstance(sent[0], list):
        assert found == sent
    return found


def _check_choice(choice: dict[str, Any], request: dict[str, Any], prompt: list[int] | None) -> None:
    assert choice["finish_reason"] in {"length", "stop"}
    ids = choice["token_ids"]
    if ids is None:
        assert not request.get("return_token_ids")
        return
    _check_end(choice, request, ids, prompt or [])
    if "prompt" in request:
        _check_logprobs(choice["logprobs"], request, ids)
    else:
        _check_chat_logprobs(choice["logprobs"], request, ids)


def _check_end(choice: dict[str, Any], request: dict[str, Any], ids: list[int], prompt: list[int]) -> None:
    asked = request.get("max_completion_tokens") or request.get("max_tokens")
    most = MAX_MODEL_LEN - len(prompt)
    if asked is not None or "prompt" in request:
        most = min(most, int(asked or 16))
    text = choice["text"] if "text" in choice else choice["message"]["content"]
    stops = request.get("stop") or []
    stops = [stops] if isinstance(stops, str) else stops
    if choice["finish_reason"] == "length":
        assert len(ids) == most
        assert choice["stop_reason"] is None
    elif isinstance(choice["stop_reason"], int):
        assert choice["stop_reason"] in request["stop_token_ids"]
        assert ids.index(choice["stop_reason"]) == len(ids) - 1
    else:
        assert choice["stop_reason"] in stops
        assert text.endswith(choice["stop_reason"]) == request.get("include_stop_str_in_output", False)
    assert len(ids) >= min(request.get("min_tokens", 0), most)
    for token in request.get("stop_token_ids") or []:
        assert token not in ids[: request.get("min_tokens", 0)]
    if not request.get("min_tokens"):
        cut = text[:-1] if choice["stop_reason"] in stops else text
        assert not any(stop in cut for stop in stops)


def _check_logprobs(logprobs: Any, request: dict[str, Any], ids: list[int]) -> None:
    count = request.get("logprobs")
    if count is None:
        assert logprobs is None
        return
    tokens, tops = logprobs["tokens"], logprobs["top_logprobs"]
    assert len(ids) == len(tokens) == len(tops) == len(logprobs["token_logprobs"])
    ends = [sum(len(token) for token in tokens[:at]) for at in range(len(tokens))]
    assert logprobs["text_offset"] == ends
    if not request.get("return_tokens_as_token_ids"):
        return  # tokens that have the same text share an entry
    assert tokens == [f"token_id:{token}" for token in ids]
    for token, own, top in zip(tokens, logprobs["token_logprobs"], tops, strict=True):
        _check_ranking(own, list(top.values()), most=count + 1, greedy=not request["temperature"])
        assert top[token] == own
        assert len(top) >= max(count, 1)


def _check_chat_logprobs(logprobs: Any, request: dict[str, Any], ids: list[int]) -> None:
    if not request.get("logprobs"):
        assert logprobs is None
        return
    count = request.get("top_logprobs", 0)
    assert len(logprobs["content"]) == len(ids)
    for token, entry in zip(ids, logprobs["content"], strict=True):
        tops = entry["top_logprobs"]
        assert len(tops) == count
        if tops:
            assert tops[0]["token"] == entry["token"]
            values = [top["logprob"] for top in tops]
            _check_ranking(entry["logprob"], values, most=count, greedy=not request["temperature"])
        assert all(top["bytes"] == list(top["token"].encode()) for top in tops)
        if request.get("return_tokens_as_token_ids"):
            assert entry["token"] == f"token_id:{token}"
        else:
            assert entry["bytes"] == list(entry["token"].encode())


def _check_ranking(own: float, values: list[float], *, most: int, greedy: bool) -> None:
    """The token's own comes first, the best ones follow in order."""
    assert values[0] == own <= 0
    assert len(values) <= most
    assert values[1:] == sorted(values[1:], reverse=True)
    assert sum(map(math.exp, values)) <= 1 + 1e-4
    if greedy:
        assert own == max(values)


def _check_prompt_logprobs(found: Any, request: dict[str, Any], prompt: list[int] | None) -> None:
    count = request.get("prompt_logprobs")
    if found is None:
        return
    assert count is not None
    assert prompt is not None
    assert len(found) == len(prompt)
    assert found[0] is None
    for token, table in zip(prompt[1:], found[1:], strict=True):
        own, *others = table.items()
        assert own[0] == str(token)
        assert count <= len(table) <= count + 1
        ranks = [entry["rank"] for _, entry in others]
        assert ranks == sorted(ranks)
        assert own[1]["rank"] <= count or len(table) == count + 1
        for _, entry in others:
            assert (entry["logprob"] <= own[1]["logprob"]) == (entry["rank"] >= own[1]["rank"])


def _check_usage(answer: dict[str, Any], prompts: list[list[int]]) -> None:
    usage = answer["usage"]
    if usage is None:
        return  # a stream in which none was asked for
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] <= _room(answer)
    ids = [choice["token_ids"] for choice in answer["choices"]]
    if prompts:
        assert usage["prompt_tokens"] == sum(map(len, prompts))
        assert usage["completion_tokens"] == sum(map(len, ids))
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    assert 0 <= cached < usage["prompt_tokens"]
    assert cached % 16 == 0


def _room(answer: dict[str, Any]) -> int:
    return MAX_MODEL_LEN * len(answer["choices"])


def errors(exchange: Exchange) -> Iterator[tuple[str, Any]]:
    """What identifies an error: family, param and code. The words are each server's own."""
    error = exchange.body["error"]
    assert error["message"]
    assert error["code"] == exchange.status
    yield from ((name, error[name]) for name in ("type", "param", "code"))
