"""A model small enough to predict, answers made by it, and endpoints that count as they are told."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from pdtest.client.answer import Answer, Candidate, Choice, Timings, Usage
from pdtest.client.endpoint import Endpoint
from pdtest.client.errors import Call, HttpStatusError
from pdtest.client.handoff import Ending, Handoff, Hop, Route
from pdtest.client.metrics import Metrics
from pdtest.client.request import Request
from pdtest.environment.schema import Environment, Role
from pdtest.oracle.evidence import Claim, Reading, Share, Window
from pdtest.wire.contract import Contract, Demand, Station
from pdtest.wire.nixl import NixlContract

BLOCK = 4
BLOCK_BYTES = 1000
PROMPT = (11, 12, 13, 14, 15, 16)
ROLES = {"prefill": Role.PREFILL, "decode": Role.DECODE}
NIXL = NixlContract()


@dataclass(frozen=True)
class Model:
    """The next token depends on all before it. At ``ties`` (prompt lengths) two are as good as equal."""

    ties: frozenset[int] = frozenset()
    gap: float = 1e-5
    candidates: int = 3
    #: Added to every log-probability, by the length of what came before.
    off: Mapping[int, float] = field(default_factory=dict)

    def think(self, prefix: tuple[int, ...]) -> tuple[Candidate, ...]:
        dice = random.Random(repr(prefix))  # noqa: S311 - reproducible on purpose
        tokens = dice.sample(range(100, 200), self.candidates)
        leads = [0.0, self.gap if len(prefix) in self.ties else 1.5, 3.0, *range(4, 40)]
        best = -0.3 + self.off.get(len(prefix), 0.0)
        return tuple(
            Candidate(token=f"token_id:{token}", token_id=token, logprob=best - lead)
            for token, lead in zip(tokens, leads, strict=False)
        )

    def choice(self, prompt: tuple[int, ...], length: int, *, second: Iterable[int] = ()) -> Choice:
        """``length`` tokens, greedy but for the positions (from 0) where the ``second`` best is taken."""
        tokens: list[int] = []
        logprobs, top = [], []
        for position in range(length):
            candidates = self.think((*prompt, *tokens))
            chosen = candidates[1 if position in set(second) else 0]
            assert chosen.token_id is not None
            tokens.append(chosen.token_id)
            logprobs.append(chosen.logprob)
            top.append(candidates)
        return Choice(
            index=0,
            text=text_of(tokens),
            finish_reason="length",
            token_ids=tuple(tokens),
            logprobs=tuple(logprobs),
            top=tuple(top),
        )

    def answer(self, request: Request, *, second: Iterable[int] = ()) -> Answer:
        prompt = PROMPT if isinstance(request.prompt, str) or request.is_chat else request.prompt
        ids = cast("tuple[int, ...]", prompt)
        made = self.choice(ids, request.max_tokens, second=second)
        if request.logprobs is None:
            made = replace(made, logprobs=None, top=None)
        return answer_of(*(replace(made, index=index) for index in range(request.n)), prompt=ids)


def text_of(tokens: Iterable[int]) -> str:
    return "".join(f"<{token}>" for token in tokens)


def answer_of(*choices: Choice, prompt: tuple[int, ...] = PROMPT) -> Answer:
    return Answer(
        member="engine",
        request_id="cmpl-1",
        status=200,
        model="tiny",
        choices=choices,
        usage=Usage(
            prompt_tokens=len(prompt), completion_tokens=sum(len(c.token_ids or ()) for c in choices)
        ),
        timings=Timings(sent_at=0.0, first_byte_s=0.1, total_s=0.2),
        prompt_token_ids=prompt,
    )


@dataclass
class FakeReference:
    """Answers as the model does, and remembers what it was asked."""

    model: Model = field(default_factory=Model)
    asked: list[Request] = field(default_factory=list)
    fails: Callable[[Request], Exception | None] = lambda _: None

    async def answer(self, request: Request) -> Answer:
        self.asked.append(request)
        if (failure := self.fails(request)) is not None:
            raise failure
        return self.model.answer(request)


def failed(status: int = 500) -> HttpStatusError:
    call = Call(member="engine", method="POST", url="http://engine/v1/completions", timeout_s=1.0)
    return HttpStatusError(call, status=status, body="KV load failed")


def handoff_of(
    request: Request, answer: Answer | None, *, params: Mapping[str, Any] | None = None, **settings: Any
) -> Handoff:
    """A handoff by the client that ended with ``answer``, or failed at decode for want of one."""
    sent = {"do_remote_prefill": True} if params is None else dict(params) or None
    error = None if answer else failed()
    hop = Hop(member="decode", sent=sent, started_s=0.0, ended_s=0.1, answer=answer, error=error)
    ending = Ending.ANSWERED if answer else Ending.DECODE_FAILED
    defaults: dict[str, Any] = {
        "request_id": "mine",
        "route": Route.CLIENT,
        "contract": "nixl",
        "decode": hop,
    }
    return Handoff(request=request, ending=ending, **{**defaults, **settings})


def metrics_of(values: Mapping[str, float]) -> Metrics:
    """Metrics with these samples; the sources of prompt tokens by their short names."""
    text = "\n".join(f"{_SHORT.get(name, name)} {value}" for name, value in values.items())
    return Metrics.parse(text + "\n")


_SHORT = {
    "moved": 'vllm:prompt_tokens_by_source_total{source="external_kv_transfer"}',
    "cached": 'vllm:prompt_tokens_by_source_total{source="local_cache_hit"}',
    "computed": 'vllm:prompt_tokens_by_source_total{source="local_compute"}',
    "bytes": "vllm:nixl_bytes_transferred_sum",
    "failures": "vllm:nixl_num_failed_transfers_total",
    "late": "vllm:nixl_num_notifications_after_expiry_total",
    "expired": "vllm:nixl_num_kv_expired_reqs_total",
}

ZERO = {"moved": 0, "cached": 0, "computed": 0, "bytes": 0}
Counts = Mapping[str, float]


def window_of(
    before: Mapping[str, Counts], after: Mapping[str, Counts], roles: Mapping[str, Role] = ROLES
) -> Window:
    return Window(before=_reading(before), after=_reading(after), roles=roles)


def decode_window(after: Counts, before: Counts = ZERO, *, prefill: Counts = {}) -> Window:  # noqa: B006
    return window_of({"decode": before, "prefill": {}}, {"decode": after, "prefill": prefill})


def _reading(values: Mapping[str, Counts]) -> Reading:
    return Reading(metrics={name: metrics_of(counts) for name, counts in values.items()})


def claim_of(*demands: Demand, contract: Contract = NIXL, **settings: Any) -> Claim:
    shares = tuple(Share(carrier=contract, demand=demand) for demand in demands)
    return Claim(**{"contract": contract, "shares": shares, "block_bytes": BLOCK_BYTES, **settings})


def moved(tokens: int, blocks: int | None = None) -> Demand:
    return Demand(
        transferred=tokens, cached=0, computed=0, blocks=-(-tokens // BLOCK) if blocks is None else blocks
    )


_HANDED_OVER = {"do_remote_prefill": True}


@dataclass
class FakeEngine:
    """An endpoint whose counters show one entry of ``counts`` per reading, the last one from then on."""

    name: str = "decode"
    counts: Sequence[Counts] = (ZERO,)
    model: Model = field(default_factory=Model)
    readings: int = 0
    secrets: frozenset[str] = frozenset()
    log: list[Any] = field(default_factory=list)
    fails: Callable[[Request], Exception | None] = lambda _: None
    #: What the prefix cache answers to each attempt at emptying it.
    empties: list[bool] = field(default_factory=list)
    on_generate: Callable[[FakeEngine, Request], None] = lambda *_: None

    @property
    def endpoint(self) -> Endpoint:
        return cast("Endpoint", self)

    @property
    def station(self) -> Station:
        return Station(address="127.0.0.1", ports={})

    async def metrics(self, *_names: str) -> Metrics:
        self.readings += 1
        return metrics_of(self.counts[min(self.readings, len(self.counts)) - 1])

    async def generate(self, request: Request, **sent: Any) -> Answer:
        self.log.append((request, sent))
        if (failure := self.fails(request)) is not None:
            raise failure
        self.on_generate(self, request)
        answer = self.model.answer(request)
        asked = sent.get("kv_transfer_params") or {}
        return replace(answer, kv_transfer_params=_HANDED_OVER if asked.get("do_remote_decode") else None)

    async def reset_prefix_cache(self) -> bool:
        self.log.append("empty")
        return self.empties.pop(0) if self.empties else True

    def now(self, counts: Counts) -> None:
        """The counters from the next reading on."""
        self.counts, self.readings = (counts,), 0

    @property
    def current(self) -> dict[str, float]:
        return dict(self.counts[min(max(self.readings, 1), len(self.counts)) - 1])


def engines(*fakes: FakeEngine) -> dict[str, Endpoint]:
    return {fake.name: fake.endpoint for fake in fakes}


def environment_of(contract: Sequence[str] = ("nixl",), settle_s: float = 0.2) -> Environment:
    return Environment.model_validate(
        {
            "name": "fake",
            "model": {"path": "somewhere", "dtype": "float32", "block_size": BLOCK, "max_model_len": 512},
            "connector": {"contract": list(contract)},
            "members": {
                name: {"role": role.value, "service": "vllm"}
                for name, role in {**ROLES, "colocated": Role.COLOCATED}.items()
            },
            "thresholds": {"settle_s": settle_s},
        },
        strict=False,
    )


NAN = math.nan
