"""The requests of a load, made before it begins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pdtest.client.endpoint import new_request_id
from pdtest.client.request import Prompt, Request
from pdtest.environment.arrivals import Closed, Replay
from pdtest.environment.workload import Workload
from pdtest.load.arrival import due_times
from pdtest.load.ask import Ask
from pdtest.load.contents import Contents, kinds
from pdtest.load.impossible import ImpossibleLoad
from pdtest.load.lengths import lengths_of
from pdtest.load.trace import Traced


@dataclass(frozen=True, kw_only=True)
class LoadPlan:
    """A workload as it will be put on. ``warm_up`` is sent before, and not measured."""

    workload: Workload
    asks: tuple[Ask, ...]
    warm_up: tuple[Ask, ...] = ()

    @property
    def concurrency(self) -> int | None:
        """Of a closed loop."""
        arrivals = self.workload.arrivals
        return arrivals.concurrency if isinstance(arrivals, Closed) else None


def lay_out(
    workload: Workload, *, vocab_size: int, max_model_len: int, salt: str = "", base: Path | None = None
) -> LoadPlan:
    """The requests that ``workload`` asks for.

    ``salt`` decides the contents of the prompts, and nothing else: give each run on the same engines
    another. ``base``: the folder that the file of a trace is relative to. Raises ImpossibleLoad where
    a prompt and its answer are longer than ``max_model_len``, and for a trace that cannot be read.
    """
    contents = Contents(form=workload.form, salt=salt, vocab_size=vocab_size)
    maker = _Maker(workload=workload, contents=contents)
    asks = maker.traced(base) if isinstance(workload.arrivals, Replay) else maker.drawn()
    plan = LoadPlan(workload=workload, asks=tuple(asks), warm_up=tuple(maker.warming()))
    longest = max((*plan.asks, *plan.warm_up), key=_room)
    if _room(longest) > max_model_len:
        raise ImpossibleLoad(
            "a prompt and its answer are longer than the model can take",
            expected=f"at most model.max_model_len: {max_model_len} tokens",
            seen=f"{longest.prompt_tokens} of the prompt and {longest.request.max_tokens} of the answer",
            next_step="lower the workload's prompt or answer",
        )
    return plan


def _room(ask: Ask) -> int:
    return ask.prompt_tokens + ask.request.max_tokens


@dataclass(frozen=True, kw_only=True)
class _Maker:
    workload: Workload
    contents: Contents

    def drawn(self) -> Iterator[Ask]:
        work = self.workload
        due = due_times(work.arrivals, requests=work.requests, duration_s=work.duration_s, seed=work.seed)
        count = len(due) if due is not None else work.requests or 0
        prompts = lengths_of(work.prompt, count, seed=work.seed)
        answers = lengths_of(work.answer, count, seed=f"{work.seed}:answers")
        shared = kinds(work.prefixes, count, seed=work.seed) if work.prefixes else [None] * count
        for number, kind in enumerate(shared):
            prompt = self._prompt(prompts[number], kind)
            due_s = due[number] if due is not None else None
            yield self._ask(number, due_s, prompts[number], answers[number], prompt)

    def traced(self, base: Path | None) -> Iterator[Ask]:
        work = self.workload
        assert isinstance(work.arrivals, Replay)  # noqa: S101 - for the type checker
        for number, one in enumerate(Traced.read(work.arrivals, base)[: work.requests]):
            if work.duration_s is not None and one.at_s > work.duration_s:
                return
            prompt = self.contents.of_blocks(one.blocks, work.arrivals.hash_block, one.prompt_tokens)
            yield self._ask(number, one.at_s, one.prompt_tokens, one.max_tokens, prompt)

    def warming(self) -> Iterator[Ask]:
        """Of the same lengths, and with prompts of their own: the load must not find them in a cache."""
        work = self.workload
        prompts = lengths_of(work.prompt, work.warm_up, seed=f"{work.seed}:warm-up")
        answers = lengths_of(work.answer, work.warm_up, seed=f"{work.seed}:warm-up answers")
        for number, (length, answer) in enumerate(zip(prompts, answers, strict=True)):
            yield self._ask(number, None, length, answer, self.contents.alone(length))

    def _prompt(self, tokens: int, kind: int | None) -> Prompt:
        if kind is None or self.workload.prefixes is None:
            return self.contents.alone(tokens)
        return self.contents.after(f"prefix {kind}", self.workload.prefixes.tokens, tokens)

    def _ask(self, number: int, due_s: float | None, length: int, answer: int, prompt: Prompt) -> Ask:
        work = self.workload
        request = Request(
            prompt=prompt,
            is_chat=work.form == "chat",
            max_tokens=answer,
            ignore_eos=work.ignore_eos,
            logprobs=None,
            stream=True,
            extra={} if work.token_ids else {"return_token_ids": False},
        )
        return Ask(
            number=number,
            request_id=new_request_id(),
            due_s=due_s,
            prompt_tokens=length,
            request=request,
        )
