"""The observer for every router: what the engines counted while requests ran."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pdtest.client.answer import Answer
from pdtest.client.endpoint import Endpoint
from pdtest.client.metrics import Metrics
from pdtest.environment.schema import Role
from pdtest.routing.observer import Send
from pdtest.routing.served import Observation, Served, Tally

#: Requests that an engine finished, by the reason (vLLM 0.32, v1/metrics/loggers.py). A choice counts as one.
FINISHED = "vllm:request_success_total"
_ABORTED = "abort"
#: Between two readings: while counters lag behind answers, and before one that seems final is confirmed.
_POLL_S, _CONFIRM_S = 0.05, 0.02

_Counts = Mapping[str, float | None]


class MetricsObserver:
    """Counts per engine; exact for a request that is alone, and for what only one engine can have done.

    Prefill counts a prompt when it has handed it over, decode and hybrid an answer when it is finished. So a
    prompt that no prefill instance has counted was computed where its answer was.
    """

    name = "metrics"

    def __init__(
        self, engines: Mapping[str, Endpoint], roles: Mapping[str, Role], *, within_s: float
    ) -> None:
        """``within_s``: how long counters may lag behind answers."""
        self._engines = engines
        self._roles = roles
        self._within_s = within_s

    async def observe(self, send: Send) -> Observation:
        """What was counted while ``send`` ran. ``served`` of several requests mostly knows nobody."""
        before = await self._read()
        answers = await send()
        rises = _rises(before, await self._settled(before, answers))
        tally = self._tally(rises, answers)
        if tally.unknown:
            nobody = tuple(_served(answer, None, None) for answer in answers)
            return Observation(served=nobody, unknown=tally.unknown, tally=tally)
        prefill, decode = _only(tally.prompts), _only(tally.answers)
        return Observation(
            served=tuple(_served(answer, prefill, decode) for answer in answers),
            unknown="" if prefill and decode else "counters of engines do not tell requests apart",
            tally=tally,
        )

    async def _read(self) -> Mapping[str, Metrics]:
        family = FINISHED.removesuffix("_total")
        snapshots = await asyncio.gather(*(engine.metrics(family) for engine in self._engines.values()))
        return dict(zip(self._engines, snapshots, strict=True))

    async def _settled(
        self, before: Mapping[str, Metrics], answers: Sequence[Answer]
    ) -> Mapping[str, Metrics]:
        """The counters once all answers are in them and a second reading says the same."""
        deadline = time.monotonic() + self._within_s
        last: _Counts = {}
        while True:
            now = await self._read()
            rises = _rises(before, now)
            if (self._answers(rises) >= len(answers) and rises == last) or time.monotonic() >= deadline:
                return now
            await asyncio.sleep(_POLL_S if self._answers(rises) < len(answers) else _CONFIRM_S)
            last = rises

    def _answers(self, rises: _Counts) -> float:
        return sum(rises[name] or 0 for name in self._names(Role.DECODE, Role.HYBRID))

    def _names(self, *roles: Role) -> list[str]:
        return [name for name in self._engines if self._roles[name] in roles]

    def _tally(self, rises: _Counts, answers: Sequence[Answer]) -> Tally:
        silent = [name for name, rise in rises.items() if rise is None or rise < 0]
        if silent:
            return _untold(f"{', '.join(silent)}: no {FINISHED}, or it restarted in between")
        if any(len(answer.choices) > 1 for answer in answers):
            return _untold("engines count the choices of a request one by one (n > 1)")
        counts = {name: round(rise or 0) for name, rise in rises.items()}
        sums = _Sums.of(counts, self._roles)
        if sums.answers != len(answers):
            return _untold(f"{len(answers)} requests were answered, and engines counted {sums.answers}")
        if sums.handed > sums.decoded:
            return _untold(f"prefill counted {sums.handed} prompts, decode {sums.decoded} answers")
        return self._attributed(counts, sums)

    def _attributed(self, counts: Mapping[str, int], sums: _Sums) -> Tally:
        """Who computed the prompts that no prefill instance did."""
        answers = _some(counts, self._names(Role.DECODE, Role.HYBRID))
        known = _some(counts, self._names(Role.PREFILL, Role.HYBRID))
        decodes = _some(counts, self._names(Role.DECODE))
        own = sums.decoded - sums.handed
        if own == 0:
            return Tally(prompts=known, answers=answers)
        if own == sums.decoded:
            return Tally(prompts={**known, **decodes}, answers=answers)
        if len(decodes) == 1:
            return Tally(prompts={**known, next(iter(decodes)): own}, answers=answers)
        why = f"{own} of {sums.decoded} prompts were computed by decode, and counters do not tell by which"
        return Tally(prompts=known, answers=answers, unknown=why)


@dataclass(frozen=True, kw_only=True)
class _Sums:
    """Over all members: prompts that prefill handed over, answers of decode, and all answers."""

    handed: int
    decoded: int
    answers: int

    @classmethod
    def of(cls, counts: Mapping[str, int], roles: Mapping[str, Role]) -> _Sums:
        def by(role: Role) -> int:
            return sum(count for name, count in counts.items() if roles[name] is role)

        decoded = by(Role.DECODE)
        return cls(handed=by(Role.PREFILL), decoded=decoded, answers=decoded + by(Role.HYBRID))


def _rises(before: Mapping[str, Metrics], after: Mapping[str, Metrics]) -> dict[str, float | None]:
    return {name: _rise(before[name], after[name]) for name in after}


def _rise(before: Metrics, after: Metrics) -> float | None:
    then, now = _finished(before), _finished(after)
    return None if now is None else now - (then or 0.0)


def _finished(metrics: Metrics) -> float | None:
    """None where the server has no such counter. Requests that were given up are no answers."""
    total = metrics.total(FINISHED)
    if total is None:
        return None
    return total - (metrics.total(FINISHED, finished_reason=_ABORTED) or 0.0)


def _some(counts: Mapping[str, int], names: Iterable[str]) -> dict[str, int]:
    return {name: counts[name] for name in names if counts[name]}


def _only(counts: Mapping[str, int]) -> str | None:
    """The member that did all of it."""
    return next(iter(counts)) if len(counts) == 1 else None


def _served(answer: Answer, prefill: str | None, decode: str | None) -> Served:
    return Served(request_id=answer.request_id, prefill=prefill, decode=decode)


def _untold(why: str) -> Tally:
    return Tally(prompts={}, answers={}, unknown=why)
