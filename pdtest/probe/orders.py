"""What the scheduler's half of a connector tells the worker's half to look at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Order:
    """Look at ``tokens``, the first of a prompt. Sent from process to process with pickle.

    ``blocks`` by KV cache group. ``is_async``: not in this step, but when the connector says they have come.
    """

    side: str
    sequence: str
    tokens: tuple[int, ...]
    cached: int
    blocks: tuple[tuple[int, ...], ...]
    is_async: bool = False


@dataclass(kw_only=True)
class _Prompt:
    tokens: tuple[int, ...]
    blocks: list[list[int]]
    cached: int = 0
    published: bool = False


@dataclass(kw_only=True)
class Orders:
    """Keeps the prompts under way on the scheduler's side."""

    publishes: bool
    receives: bool
    _matched: dict[str, tuple[int, bool]] = field(default_factory=dict)
    _prompts: dict[str, _Prompt] = field(default_factory=dict)
    _due: list[Order] = field(default_factory=list)

    def matched(self, sequence: str, cached: int, *, is_async: bool) -> None:
        """So many tokens are cached. Asked again for as long as there is no room."""
        self._matched[sequence] = cached, is_async

    def allocated(
        self, sequence: str, prompt: Iterable[int], blocks: Iterable[Sequence[int]], loaded: int
    ) -> None:
        """``loaded`` tokens are to come, behind the cached ones. Also called when the KV has come, with 0."""
        cached, is_async = self._matched.pop(sequence, (0, False))
        known = self._prompts.get(sequence)
        own = _Prompt(tokens=tuple(prompt), blocks=[list(group) for group in blocks], cached=cached)
        self._prompts[sequence] = own
        if self.receives and (loaded or (cached and known is None)):
            self._due.append(
                self._order(
                    "received", sequence, own, tokens=cached + loaded, is_async=is_async and bool(loaded)
                )
            )

    def of_step(self, scheduler_output: Any) -> list[Order]:
        """All that is due: what was allocated since, and the prompts that this step completes."""
        due, self._due = self._due, []
        due += self._completed(scheduler_output) if self.publishes else ()
        for sequence in scheduler_output.finished_req_ids:
            self._prompts.pop(sequence, None)
            self._matched.pop(sequence, None)
        return due

    def _completed(self, step: Any) -> Iterator[Order]:
        self._grow(step.scheduled_cached_reqs)
        before = {new.req_id: new.num_computed_tokens for new in step.scheduled_new_reqs}
        running = step.scheduled_cached_reqs
        before |= dict(zip(running.req_ids, running.num_computed_tokens, strict=True))
        for sequence, computed in before.items():
            prompt = self._prompts.get(sequence)
            if prompt is None or prompt.published:
                continue
            if computed + step.num_scheduled_tokens[sequence] >= len(prompt.tokens):
                prompt.published = True
                yield self._order("published", sequence, prompt, tokens=len(prompt.tokens))

    def _grow(self, running: Any) -> None:
        """Prompts that are computed in chunks get blocks as they go."""
        for sequence, groups in zip(running.req_ids, running.new_block_ids, strict=True):
            prompt = self._prompts.get(sequence)
            if prompt is None or not groups or prompt.published:
                continue
            for own, new in zip(prompt.blocks, groups, strict=True):
                own[:] = [*(() if sequence in running.resumed_req_ids else own), *new]

    @staticmethod
    def _order(side: str, sequence: str, prompt: _Prompt, *, tokens: int, is_async: bool = False) -> Order:
        return Order(
            side=side,
            sequence=sequence,
            tokens=prompt.tokens[:tokens],
            cached=prompt.cached,
            blocks=tuple(tuple(group) for group in prompt.blocks),
            is_async=is_async,
        )
