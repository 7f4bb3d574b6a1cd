"""Streams: what kind of event is what, and the whole answer that they make."""

from __future__ import annotations

from typing import Any

from .exchange import Exchange


def kind(event: Any) -> str:
    """What an event is there for."""
    if event == "[DONE]":
        return "done"
    if "error" in event:
        return "error"
    if not event["choices"]:
        return "usage"
    choice = event["choices"][0]
    if "role" in choice.get("delta", {}):
        return "role"
    return "token" if choice["finish_reason"] is None else "last token"


def whole(exchange: Exchange) -> dict[str, Any]:
    """The answer that the same request would have had without `stream`, made of the events.

    Asserts that the events come in order: a role for each choice, its tokens, its end, the usage, the end.
    """
    events = exchange.events
    assert events is not None
    kinds = [kind(event) for event in events]
    assert kinds.index("done") == len(kinds) - 1
    chunks = events[:-1]
    assert len({(chunk["id"], chunk["object"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1
    options = exchange.request.get("stream_options") or {}
    assert kinds.count("usage") == bool(options.get("include_usage"))
    answer = {name: chunks[0][name] for name in ("id", "object", "created", "model")}
    answer["usage"] = chunks.pop()["usage"] if "usage" in kinds else None
    # Where the usage follows, it has the fingerprint.
    marked = [one for one, chunk in zip(kinds, chunks, strict=False) if "system_fingerprint" in chunk]
    assert set(marked) == (set() if answer["usage"] else {"last token"})
    if "role" in kinds:
        answer["prompt_token_ids"] = chunks[0]["prompt_token_ids"]
        answer["prompt_text"] = chunks[0]["prompt_text"]
    by_index: dict[int, list[dict[str, Any]]] = {}
    for chunk in chunks:
        assert len(chunk["choices"]) == 1
        by_index.setdefault(chunk["choices"][0]["index"], []).append(chunk)
    answer["choices"] = [_choice(index, by_index[index]) for index in sorted(by_index)]
    for index, own in by_index.items():
        _check_running_usage(own, answer["choices"][index], continuous="continuous_usage_stats" in options)
    return answer


def _choice(index: int, chunks: list[dict[str, Any]]) -> dict[str, Any]:
    kinds = [kind(chunk) for chunk in chunks]
    assert kinds.index("last token") == len(kinds) - 1
    parts = [chunk["choices"][0] for chunk in chunks]
    choice: dict[str, Any] = {
        "index": index,
        "finish_reason": parts[-1]["finish_reason"],
        "stop_reason": parts[-1]["stop_reason"],
    }
    if "delta" in parts[0]:
        assert kinds.index("role") == 0
        assert kinds.count("role") == 1
        role, *parts = parts
        content = "".join(part["delta"]["content"] for part in parts)
        choice["message"] = {"role": role["delta"]["role"], "content": content}
        choice["logprobs"] = _joined([part["logprobs"] for part in parts])
    else:
        choice["text"] = "".join(part["text"] for part in parts)
        choice["prompt_token_ids"] = parts[0]["prompt_token_ids"]
        assert all(part["prompt_token_ids"] is None for part in parts[1:])
        choice["logprobs"] = _joined([part["logprobs"] for part in parts])
    ids = [part["token_ids"] for part in parts]
    choice["token_ids"] = None if ids[0] is None else [token for some in ids for token in some]
    return choice


def _joined(logprobs: list[dict[str, list[Any]] | None]) -> dict[str, list[Any]] | None:
    """One set of lists out of those of all chunks."""
    if logprobs[0] is None:
        assert not any(logprobs)
        return None
    joined: dict[str, list[Any]] = {name: [] for name in logprobs[0]}
    for one in logprobs:
        assert one is not None
        for name, values in one.items():
            joined[name] += values
    return joined


def _check_running_usage(chunks: list[dict[str, Any]], choice: dict[str, Any], *, continuous: bool) -> None:
    assert all(("usage" in chunk) == continuous for chunk in chunks)
    if not continuous:
        return
    counted = [chunk["usage"]["completion_tokens"] for chunk in chunks]
    assert counted == sorted(counted)
    assert counted[-1] == len(choice["token_ids"])
    assert all(
        usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
        for usage in (chunk["usage"] for chunk in chunks)
    )
