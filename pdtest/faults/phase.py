"""In which phase a request is, seen from outside, so that a fault falls into it by intent and not by luck.

Engines tell by gauges of vLLM 0.32 (v1/metrics/loggers.py): how many requests run, and how many wait for KV
that is being fetched. Nothing else may be under way on the engines that are watched.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pdtest.client.endpoint import Endpoint
from pdtest.client.errors import RequestFailed
from pdtest.client.metrics import Metrics
from pdtest.environment.scenarios import Phase
from pdtest.environment.schema import Phases, Role
from pdtest.faults.fault import Unverified

_RUNNING = "vllm:num_requests_running"
_FETCHING = "vllm:num_requests_kv_fetch_by_stage"
_USAGE = "vllm:kv_cache_usage_perc"
_POLL_S = 0.01


class Missed(Unverified):
    """It cannot be said that the request was in the phase when the fault came."""


@dataclass(frozen=True, kw_only=True)
class Reached:
    """A request is in ``phase``.

    ``prefill`` and ``decode`` are the members that were seen to work on it, None where none was yet.
    ``not_before`` is the last time (`time.perf_counter`) at which it was seen not to be there.
    """

    phase: Phase
    prefill: str | None
    decode: str | None
    not_before: float

    def require_still(self, phases: Phases, at: float, *, ended: bool) -> None:
        """It was still in that phase at the time ``at``. Raises Missed.

        ``phases`` say for how long it stays there at the least; where they do not, it must not have ended.
        """
        lasts = float(getattr(phases, self.phase))
        passed = at - self.not_before
        if ended if not lasts else passed >= lasts:
            raise Missed(
                f"the fault may have come after the phase {self.phase}",
                expected=f"less than {lasts:g} s after it began" if lasts else "a request that has not ended",
                seen=f"{passed:.2f} s after it was last seen not to be there",
                next_step="set phases to what the engines are made to take, or make them slower",
            )


async def reach(
    phase: Phase,
    request: asyncio.Future[Any],
    engines: Mapping[str, Endpoint],
    roles: Mapping[str, Role],
    *,
    within_s: float,
) -> Reached:
    """Watch ``engines`` until ``request``, the only one there, is in ``phase``.

    Raises Missed when it ended before, or does not get there in time.
    """
    watch = _Watch(engines, roles)
    deadline = time.perf_counter() + within_s
    not_before = time.perf_counter()
    while not request.done() and time.perf_counter() < deadline:
        looked_at = time.perf_counter()
        if await watch.look() is phase:
            return Reached(phase=phase, prefill=watch.prefill, decode=watch.decode, not_before=not_before)
        not_before = looked_at
        await asyncio.sleep(_POLL_S)
    ended = "it ended before" if request.done() else f"not within {within_s:g} s"
    raise Missed(
        f"the request was never seen in the phase {phase}",
        expected=f"engines {', '.join(engines)} tell of it by {_RUNNING} and {_FETCHING}",
        seen=f"{ended}; phases seen: {', '.join(watch.phases) or 'none'}",
    )


class _Watch:
    """Remembers which engines had something to do with the request."""

    def __init__(self, engines: Mapping[str, Endpoint], roles: Mapping[str, Role]) -> None:
        self.prefill: str | None = None
        self.decode: str | None = None
        self.phases: dict[Phase, None] = {}
        self._engines = engines
        self._roles = roles

    async def look(self) -> Phase | None:
        seen = await asyncio.gather(*map(_metrics, self._engines.values()))
        metrics = {name: one for name, one in zip(self._engines, seen, strict=True) if one is not None}
        prefills = {name: one for name, one in metrics.items() if self._roles[name] is Role.PREFILL}
        decodes = {name: one for name, one in metrics.items() if self._roles[name] is Role.DECODE}
        self.prefill = _first(prefills, _USAGE) or self.prefill
        self.decode = _first(decodes, _FETCHING) or _first(decodes, _USAGE) or self.decode
        phase = None
        if _first(decodes, _FETCHING):
            phase = Phase.TRANSFER
        elif _first(decodes, _RUNNING):
            phase = Phase.DECODE
        elif _first(prefills, _RUNNING):
            phase = Phase.PREFILL
        if phase is not None:
            self.phases[phase] = None
        return phase


def _first(engines: Mapping[str, Metrics], gauge: str) -> str | None:
    """The one of which the gauge is not zero."""
    labels = {"stage": "in_progress"} if gauge == _FETCHING else {}
    return next((name for name, metrics in engines.items() if metrics.total(gauge, **labels)), None)


async def _metrics(endpoint: Endpoint) -> Metrics | None:
    try:
        return await endpoint.metrics(_RUNNING, _FETCHING, _USAGE)
    except RequestFailed:
        return None
