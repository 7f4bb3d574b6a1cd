"""What an answer says, looked up after the load: its tokens and when they came."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from pdtest.client.stream import DONE, EventParser, tokens_in
from pdtest.load.answer import Answer

_OK = 200
_EXCERPT = 300


@dataclass(kw_only=True)
class Heard:
    """``pieces``: when, how many tokens, in which read; as of `pdtest.results.Piece`. CLOCK_MONOTONIC.

    ``prompt_tokens`` and ``completion_tokens`` as the server counts them. ``error``: None if it is complete.
    """

    pieces: list[tuple[float, int, int]] = field(default_factory=list)
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    finish_reason: str | None = None
    error: str | None = None

    @property
    def coalesced(self) -> int:
        """How many pieces came in one read with an earlier one."""
        return len(self.pieces) - len({read for _, _, read in self.pieces})


def heard(answer: Answer) -> Heard:
    """An answer that was streamed. Of one that broke off, what had come."""
    told = Heard()
    if answer.status not in (_OK, None):
        told.error = f"status {answer.status}: {_excerpt(answer)}"
        return told
    try:
        done = _listen(answer, told)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        told.error = f"an event is no chunk of an answer: {error}"
        return told
    told.error = told.error or answer.error
    if told.error is None and not done:
        told.error = f"it ended without 'data: {DONE}': {_excerpt(answer)}"
    if told.error is None and told.finish_reason is None:
        told.error = "it ended without a finish_reason"
    return told


def _listen(answer: Answer, told: Heard) -> bool:
    parser, done = EventParser(), False
    for at, read, part in answer.parts:
        for event in parser.feed(part):
            if event == DONE:
                done = True
            else:
                _take(json.loads(event), at, read, told)
    return done


def _take(chunk: dict[str, Any], at: float, read: int, told: Heard) -> None:
    if chunk.get("error"):
        told.error = f"the server reported an error in the stream: {chunk['error']}"
        return
    tokens = 0
    for choice in chunk.get("choices") or ():
        tokens += tokens_in(choice)
        told.finish_reason = choice.get("finish_reason") or told.finish_reason
    if tokens:
        told.pieces.append((at, tokens, read))
    usage = chunk.get("usage")
    if usage:
        told.prompt_tokens, told.completion_tokens = (
            usage.get("prompt_tokens"),
            usage.get("completion_tokens"),
        )


def _excerpt(answer: Answer) -> str:
    return answer.body[:_EXCERPT].decode("utf-8", errors="replace") or "nothing came"
