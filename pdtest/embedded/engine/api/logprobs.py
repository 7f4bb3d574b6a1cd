"""Log-probabilities in the shapes of the two endpoints, as vLLM 0.32 writes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from pdtest.embedded.engine.api.choice import Candidate, Position

#: JSON has no infinity.
_LEAST: Final = -9999.0


def completion_logprobs(
    positions: Iterable[Position], count: int, *, as_ids: bool, offset: int
) -> dict[str, Any]:
    """Of a choice of /v1/completions: the token itself and the ``count`` best. ``offset``: where it starts.

    Candidates are keyed by their text, so that two with the same text are one entry.
    """
    offsets: list[int] = []
    tokens: list[str] = []
    own: list[float] = []
    tops: list[dict[str, float]] = []
    for position in positions:
        label = _label(position[0], as_ids=as_ids)
        offsets.append(offset)
        tokens.append(label)
        own.append(_finite(position[0]))
        tops.append({_label(one, as_ids=as_ids): _finite(one) for one in position[: count + 1]})
        offset += len(label)
    return {"text_offset": offsets, "token_logprobs": own, "tokens": tokens, "top_logprobs": tops}


def chat_logprobs(positions: Iterable[Position], count: int, *, as_ids: bool) -> dict[str, Any]:
    """Of a choice of /v1/chat/completions: each token, and ``count`` candidates of which it is the first."""
    return {"content": [_chat_token(position, count, as_ids=as_ids) for position in positions]}


def prompt_logprobs(positions: Sequence[Position | None]) -> list[dict[str, Any] | None]:
    """Of a prompt: by token id, the prompt's own first."""
    return [None if position is None else _by_id(position) for position in positions]


def _by_id(position: Position) -> dict[str, Any]:
    return {
        str(one.token): {"logprob": _finite(one), "rank": one.rank, "decoded_token": one.text}
        for one in position
    }


def _chat_token(position: Position, count: int, *, as_ids: bool) -> dict[str, Any]:
    own = position[0]
    return {
        "token": _label(own, as_ids=as_ids),
        "logprob": _finite(own),
        "bytes": list(own.text.encode()),
        "top_logprobs": [_chat_candidate(one, as_ids=as_ids) for one in position[:count]],
    }


def _chat_candidate(one: Candidate, *, as_ids: bool) -> dict[str, Any]:
    label = _label(one, as_ids=as_ids)
    # The bytes are those of the label, `token_id:7` included: so does vLLM.
    return {"token": label, "logprob": _finite(one), "bytes": list(label.encode())}


def _label(one: Candidate, *, as_ids: bool) -> str:
    return f"token_id:{one.token}" if as_ids else one.text


def _finite(one: Candidate) -> float:
    return max(one.logprob, _LEAST)
