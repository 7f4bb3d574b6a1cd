"""An answer, the same whether it came whole or as a stream, as a completion or as a chat."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A token that could have been chosen, and its log-probability.

    ``token_id`` is None for servers that ignore return_tokens_as_token_ids; then only ``token``,
    its text, tells candidates apart.
    """

    token: str
    logprob: float
    token_id: int | None = None


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One of the ``n`` answers.

    ``logprobs`` are those of the chosen tokens (NaN where the server gives none), ``top`` the
    candidates per position, best first; both None if not asked for. The chosen token is among the
    candidates even when it is not one of the best.
    """

    index: int
    text: str
    finish_reason: str
    stop_reason: int | str | None = None
    token_ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None
    top: tuple[tuple[Candidate, ...], ...] | None = None

    def margin(self, position: int) -> float | None:
        """How much likelier the best candidate was than the second. None: not enough candidates."""
        if self.top is None or len(self.top[position]) < 2:  # noqa: PLR2004
            return None
        best, second, *_ = self.top[position]
        return best.logprob - second.logprob


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What the server counted, in tokens. ``cached``: None when it does not say.

    With a remote prefill, vLLM 0.32's decode repeats here what was cached on *prefill*
    (v1/engine/output_processor.py); it is no evidence of a transfer.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int | None = None


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """A chunk of a stream: when it came, and how many tokens it brought."""

    at_s: float
    tokens: int


@dataclass(frozen=True, kw_only=True)
class Timings:
    """``sent_at`` is wall clock (seconds since the epoch); the rest are seconds since then.

    Measured with a monotonic clock. First and last token are known of streams only.
    """

    sent_at: float
    first_byte_s: float
    total_s: float
    arrivals: tuple[Arrival, ...] = ()

    @property
    def first_token_s(self) -> float | None:
        """Time to the first chunk with a token in it."""
        return next((arrival.at_s for arrival in self.arrivals if arrival.tokens), None)

    @property
    def last_token_s(self) -> float | None:
        """Time to the last chunk with a token in it."""
        return next((arrival.at_s for arrival in reversed(self.arrivals) if arrival.tokens), None)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A complete answer with status 200.

    ``prompt_logprobs`` are those of the prompt's own tokens (the first has none). ``headers`` are
    those worth keeping, names in lower case. ``raw`` is the body as JSON; of a stream, the body that
    the same answer would have had if it had not been streamed.
    """

    member: str
    request_id: str
    status: int
    model: str
    choices: tuple[Choice, ...]
    usage: Usage
    timings: Timings
    prompt_token_ids: tuple[int, ...] | None = None
    prompt_logprobs: tuple[float | None, ...] | None = None
    kv_transfer_params: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def text(self) -> str:
        """The text of the first choice."""
        return self.choices[0].text

    @property
    def token_ids(self) -> tuple[int, ...] | None:
        """The token ids of the first choice."""
        return self.choices[0].token_ids

    def digest(self) -> str | None:
        """A name for the tokens of all choices, 16 hex digits; None where the server tells no ids."""
        if any(choice.token_ids is None for choice in self.choices):
            return None
        ids = [list(choice.token_ids or ()) for choice in self.choices]
        return hashlib.sha256(repr(ids).encode()).hexdigest()[:16]
