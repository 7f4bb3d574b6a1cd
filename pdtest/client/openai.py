"""The bodies of completions and chats as servers send them, read into answers.

Shapes from vLLM 0.32 (entrypoints/openai/{completion,chat_completion}/protocol.py). Fields that are
not read here are left alone: `Answer.raw` has them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pdtest.client.answer import Candidate, Choice, Usage


class Shapeless(ValueError):
    """A body that is JSON but no answer. The message says where."""


class _Loose(BaseModel):
    """Strict about what is read, indifferent to what is not."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class _PromptDetails(_Loose):
    cached_tokens: int | None = None


class _Usage(_Loose):
    prompt_tokens: int
    completion_tokens: int = 0
    prompt_tokens_details: _PromptDetails | None = None


class _PromptLogprob(_Loose):
    logprob: float


_PromptLogprobs = list[dict[str, _PromptLogprob] | None]


class _TextLogprobs(_Loose):
    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None] | None = None


class _TextChoice(_Loose):
    index: int
    text: str
    finish_reason: str
    stop_reason: int | str | None = None
    token_ids: list[int] | None = None
    prompt_token_ids: list[int] | None = None
    prompt_logprobs: _PromptLogprobs | None = None
    logprobs: _TextLogprobs | None = None


class _ChatCandidate(_Loose):
    token: str
    logprob: float


class _ChatPosition(_ChatCandidate):
    top_logprobs: list[_ChatCandidate] = []


class _ChatLogprobs(_Loose):
    content: list[_ChatPosition] | None = None


class _Message(_Loose):
    content: str | None = None


class _ChatChoice(_Loose):
    index: int
    message: _Message
    finish_reason: str
    stop_reason: int | str | None = None
    token_ids: list[int] | None = None
    logprobs: _ChatLogprobs | None = None


class _Body(_Loose):
    model: str
    usage: _Usage
    kv_transfer_params: dict[str, Any] | None = None


class _TextBody(_Body):
    choices: list[_TextChoice] = Field(min_length=1)


class _ChatBody(_Body):
    choices: list[_ChatChoice] = Field(min_length=1)
    prompt_token_ids: list[int] | None = None
    prompt_logprobs: _PromptLogprobs | None = None


def read(body: Any, *, is_chat: bool) -> dict[str, Any]:
    """The parts of an `Answer` that the body decides. Raises Shapeless."""
    if isinstance(body, Mapping) and body.get("error"):
        raise Shapeless(f"an error with status 200: {body['error']}")
    try:
        return (
            _read_chat(_ChatBody.model_validate(body))
            if is_chat
            else _read_text(_TextBody.model_validate(body))
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the body"
        raise Shapeless(f"{place}: {first['msg']}") from error


def _read_text(body: _TextBody) -> dict[str, Any]:
    first = body.choices[0]
    return {
        **_read_common(body, first.prompt_token_ids, first.prompt_logprobs),
        "choices": tuple(_text_choice(choice) for choice in body.choices),
    }


def _read_chat(body: _ChatBody) -> dict[str, Any]:
    return {
        **_read_common(body, body.prompt_token_ids, body.prompt_logprobs),
        "choices": tuple(_chat_choice(choice) for choice in body.choices),
    }


def _read_common(body: _Body, ids: list[int] | None, logprobs: _PromptLogprobs | None) -> dict[str, Any]:
    details = body.usage.prompt_tokens_details
    return {
        "model": body.model,
        "usage": Usage(
            prompt_tokens=body.usage.prompt_tokens,
            completion_tokens=body.usage.completion_tokens,
            cached_tokens=details.cached_tokens if details else None,
        ),
        "kv_transfer_params": body.kv_transfer_params,
        "prompt_token_ids": None if ids is None else tuple(ids),
        "prompt_logprobs": _of_prompt(ids, logprobs),
    }


def _of_prompt(ids: list[int] | None, logprobs: _PromptLogprobs | None) -> tuple[float | None, ...] | None:
    if ids is None or logprobs is None:
        return None
    pairs = zip(ids, logprobs, strict=False)
    return tuple(at[str(token)].logprob if at and str(token) in at else None for token, at in pairs)


def _text_choice(choice: _TextChoice) -> Choice:
    logprobs = choice.logprobs
    return Choice(
        index=choice.index,
        text=choice.text,
        finish_reason=choice.finish_reason,
        stop_reason=choice.stop_reason,
        token_ids=None if choice.token_ids is None else tuple(choice.token_ids),
        logprobs=None if logprobs is None else tuple(map(_or_nan, logprobs.token_logprobs)),
        top=None if logprobs is None else tuple(map(_ranked, _text_candidates(logprobs))),
    )


def _text_candidates(logprobs: _TextLogprobs) -> list[dict[str, float]]:
    tops = logprobs.top_logprobs or [None] * len(logprobs.tokens)
    chosen = zip(logprobs.tokens, logprobs.token_logprobs, strict=False)
    return [
        {token: _or_nan(logprob), **(top or {})} for (token, logprob), top in zip(chosen, tops, strict=False)
    ]


def _chat_choice(choice: _ChatChoice) -> Choice:
    positions = choice.logprobs.content if choice.logprobs else None
    return Choice(
        index=choice.index,
        # A chat that only calls tools has no content.
        text=choice.message.content or "",
        finish_reason=choice.finish_reason,
        stop_reason=choice.stop_reason,
        token_ids=None if choice.token_ids is None else tuple(choice.token_ids),
        logprobs=None if positions is None else tuple(position.logprob for position in positions),
        top=None if positions is None else tuple(map(_ranked, map(_chat_candidates, positions))),
    )


def _chat_candidates(position: _ChatPosition) -> dict[str, float]:
    return {
        position.token: position.logprob,
        **{candidate.token: candidate.logprob for candidate in position.top_logprobs},
    }


def _ranked(candidates: Mapping[str, float]) -> tuple[Candidate, ...]:
    best_first = sorted(candidates.items(), key=lambda item: item[1], reverse=True)
    return tuple(Candidate(token=key, token_id=_token_id(key), logprob=value) for key, value in best_first)


def _token_id(token: str) -> int | None:
    """The id in 'token_id:123', which return_tokens_as_token_ids asks for."""
    prefix, _, number = token.partition(":")
    return int(number) if prefix == "token_id" and number.isdecimal() else None


def _or_nan(logprob: float | None) -> float:
    return math.nan if logprob is None else logprob
