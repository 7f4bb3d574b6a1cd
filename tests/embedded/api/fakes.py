"""An engine that says the prompt again, and clients for it."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from prometheus_client import CollectorRegistry, Counter
from starlette.types import ASGIApp

from pdtest.embedded.engine.api.app import application
from pdtest.embedded.engine.sequence import Finish, Logprob, Sequence, Step
from pdtest.embedded.engine.settings import Settings
from pdtest.embedded.model.config import ModelConfig
from pdtest.embedded.model.tokenizer import EOS, VOCABULARY

CONFIG = ModelConfig(
    layers=1,
    hidden=8,
    heads=2,
    kv_heads=1,
    head_dim=4,
    intermediate=8,
    vocab_size=VOCABULARY,
    eos_id=EOS,
    max_positions=256,
)
SETTINGS: dict[str, Any] = {"model": Path("models/echo"), "served_name": "echo", "max_model_len": 64}


class EchoCore:
    """Says each prompt again, then `<eos>`, then that all over; a token per turn of the loop.

    Says nothing until ``go`` is set, and nothing more after ``pause_after`` tokens. ``failure``: after so
    many tokens, with that message and status.
    """

    def __init__(self) -> None:
        self.submitted: list[Sequence] = []
        self.aborted: list[Sequence] = []
        self.go = asyncio.Event()
        self.go.set()
        self.failure: tuple[int, str, int] | None = None
        self.pause_after: int | None = None
        self.handover: dict[str, Any] | None = None
        #: By the prompt's length, for requests with several.
        self.handovers: dict[int, dict[str, Any]] = {}
        self.cached = 0
        self.resets = True
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def submit(self, sequence: Sequence) -> None:
        assert sequence.id not in self._tasks
        self.submitted.append(sequence)
        self._tasks[sequence.id] = asyncio.create_task(self._speak(sequence))

    def abort(self, sequence: Sequence, finish: Finish = Finish.ABORT) -> None:
        if sequence.id in self._tasks:
            self.aborted.append(sequence)
            self._tasks[sequence.id].cancel()
            self._end(sequence, Step(finish=finish))

    def reset_prefix_cache(self) -> bool:
        return self.resets

    async def _speak(self, sequence: Sequence) -> None:
        await self.go.wait()
        sequence.cached = self.cached
        self._score_prompt(sequence)
        for token in itertools.cycle((*sequence.prompt, EOS)):
            await asyncio.sleep(0)
            if len(sequence.output) == self.pause_after:
                await asyncio.Event().wait()
            if self.failure is not None and len(sequence.output) == self.failure[0]:
                _, error, status = self.failure
                self._end(sequence, Step(finish=Finish.ERROR, error=error, status=status))
                return
            step = self._step(sequence, token)
            if step.finish is not None:
                self._end(sequence, step)
                return
            sequence.steps.put_nowait(step)

    def _end(self, sequence: Sequence, step: Step) -> None:
        sequence.finish = step.finish
        sequence.handover = self.handovers.get(len(sequence.prompt), self.handover)
        del self._tasks[sequence.id]
        sequence.steps.put_nowait(step)

    def _step(self, sequence: Sequence, token: int) -> Step:
        sequence.output.append(token)
        sampling = sequence.sampling
        finish, reason = None, None
        if token == EOS and not sampling.ignore_eos:
            finish = Finish.STOP
        elif token in sampling.stop_token_ids and len(sequence.output) > sampling.min_tokens:
            finish, reason = Finish.STOP, token
        elif len(sequence.output) == sampling.max_tokens:
            finish = Finish.LENGTH
        if sampling.logprobs is None:
            return Step(token=token, finish=finish, stop_reason=reason)
        chosen, candidates = _scores(token, sampling.logprobs)
        return Step(token=token, chosen=chosen, candidates=candidates, finish=finish, stop_reason=reason)

    def _score_prompt(self, sequence: Sequence) -> None:
        count = sequence.sampling.prompt_logprobs
        if count is None:
            return
        sequence.prompt_logprobs = [None]
        for token in sequence.prompt[1:]:
            chosen, candidates = _scores(token, count)
            sequence.prompt_logprobs.append((chosen, *candidates))


def _scores(token: int, count: int) -> tuple[Logprob, tuple[Logprob, ...]]:
    """The token is second best; the best is the one after it in the vocabulary; the worst is impossible."""
    best = Logprob((token + 1) % VOCABULARY, -0.5, 1)
    chosen = Logprob(token, -1.0, 2)
    rest = [Logprob((token + 1 + rank) % VOCABULARY, -math.inf, rank + 1) for rank in range(2, count + 1)]
    return chosen, (best, chosen, *rest)[:count]


class EchoCores:
    """``cores`` ranks, the first of which is chosen unless another is asked for."""

    def __init__(self, ranks: int = 1) -> None:
        self.ranks = [EchoCore() for _ in range(ranks)]
        self.config = CONFIG
        self.registry = CollectorRegistry()
        Counter("vllm:prompt_tokens", "Prompt tokens", registry=self.registry)

    def choose(self, data_rank: int | None) -> EchoCore:
        return self.ranks[data_rank or 0]

    def __iter__(self) -> Iterator[EchoCore]:
        return iter(self.ranks)


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[str]:
    """A real server on a free port of this loop."""
    config = uvicorn.Config(app, port=0, lifespan="off", log_level="warning", http="httptools", ws="none")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    async with asyncio.timeout(10):
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def echoing(cores: EchoCores, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application itself, with no server between."""
    app = application(cores, Settings(**{**SETTINGS, **settings}))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://engine") as client:
        yield client
