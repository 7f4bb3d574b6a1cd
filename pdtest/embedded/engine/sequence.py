"""One sequence that the engine works on: a prompt, what was generated, and the blocks of its KV."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Finish(StrEnum):
    """Why a sequence ended, in the words of the API."""

    STOP = "stop"
    LENGTH = "length"
    ABORT = "abort"
    ERROR = "error"


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How tokens are chosen and when to stop. Greedy at temperature 0.

    ``logprobs``: candidates to report per position beside the chosen token; None: no log-probabilities.
    """

    max_tokens: int
    min_tokens: int = 0
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    stop_token_ids: frozenset[int] = frozenset()
    ignore_eos: bool = False
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    #: Added to the logits before a token is chosen. Reported log-probabilities are those without it.
    logit_bias: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Logprob:
    """A token's log-probability (natural) and its rank among all, from 1."""

    token: int
    logprob: float
    rank: int


@dataclass(frozen=True, slots=True)
class Step:
    """What one step of the engine added to a sequence: at most one token, or its end, or both.

    ``candidates``: the best ones, best first; the chosen token is ``chosen``.
    """

    token: int | None = None
    chosen: Logprob | None = None
    candidates: tuple[Logprob, ...] = ()
    finish: Finish | None = None
    stop_reason: int | str | None = None
    #: Why it ended with `Finish.ERROR`, and the HTTP status that tells whose fault it is.
    error: str | None = None
    status: int = 500


@dataclass(kw_only=True, eq=False)
class Sequence:
    """The engine's record of one choice of one request.

    ``id`` is the engine's own name for it (`cmpl-<request id>-<random>-<choice>`), which connectors put on
    the wire: no other sequence ever has it;
    ``request_id`` is what the client called the request (X-Request-Id), shared by all choices.
    ``computed``: how many tokens (prompt and output) have their KV in ``blocks``.
    ``steps`` is read by whoever waits for the answer.
    """

    id: str
    request_id: str
    prompt: tuple[int, ...]
    sampling: Sampling
    kv_transfer_params: Mapping[str, Any] | None = None
    blocks: list[int] = field(default_factory=list)
    computed: int = 0
    output: list[int] = field(default_factory=list)
    finish: Finish | None = None
    #: Tokens found in the prefix cache, and brought by the connector, when it was admitted.
    cached: int = 0
    transferred: int = 0
    #: Set when it has ended: what the connector wants the answer to carry.
    handover: Mapping[str, Any] | None = None
    #: One entry per prompt token, the first None; filled when asked for. An entry starts with the prompt's
    #: own token, the candidates follow, best first (they may hold it once more).
    prompt_logprobs: list[tuple[Logprob, ...] | None] = field(default_factory=list)
    steps: asyncio.Queue[Step] = field(default_factory=asyncio.Queue, repr=False)
    arrived_at: float = 0.0

    @property
    def length(self) -> int:
        """Tokens so far, prompt and output."""
        return len(self.prompt) + len(self.output)

    @property
    def choice(self) -> int:
        """Which of its request's choices it is: the number at the end of its id; 0 if there is none."""
        number = self.id.rpartition("-")[2]
        return int(number) if number.isdecimal() else 0

    def token_at(self, position: int) -> int:
        """The token at ``position``, counted over prompt and output."""
        beyond = position - len(self.prompt)
        return self.prompt[position] if beyond < 0 else self.output[beyond]
