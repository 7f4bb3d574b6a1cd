"""Instances that are kept busy while something else is asked of the router, and what they told of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from pdtest.client.endpoint import Endpoint
from pdtest.client.errors import RequestFailed
from pdtest.oracle.quiet import seek_quiet
from pdtest.oracle.routing.router import Router
from pdtest.oracle.routing.traffic import Errand
from pdtest.oracle.verdict import Finding, Ruling

#: As vLLM 0.32 has them (v1/metrics/loggers.py). The last is a share, 0 to 1, all the same.
_RUNNING = "vllm:num_requests_running"
_WAITING = "vllm:num_requests_waiting"
_KV_USAGE = "vllm:kv_cache_usage_perc"

#: How much more KV than any other one must have, for it to be certain who has the most.
_BY_FAR = 1.2

_POLL_S = 0.02
#: Until occupants are where they were sent, seconds.
_PATIENCE_S = 15.0


@dataclass(frozen=True, kw_only=True)
class Load:
    """What an engine has to do: requests, and the share of its KV cache that they hold."""

    requests: float
    kv: float


@dataclass
class Occupation:
    """Who was busy with what, before and after. Empty mappings: that could not be seen."""

    before: Mapping[str, Load] = field(default_factory=dict)
    after: Mapping[str, Load] = field(default_factory=dict)
    why: str = ""

    @property
    def requests(self) -> dict[str, float]:
        """Requests by member, at the beginning."""
        return {name: load.requests for name, load in self.before.items()}

    def lasted(self) -> list[Finding]:
        """Nothing where the same were busy all the time, else one open question."""
        same = self.before and self.requests == {name: load.requests for name, load in self.after.items()}
        if same and not self.why:
            return []
        text = self.why or f"who was busy changed meanwhile: {_told(self.before)}, then {_told(self.after)}"
        return [Finding(check="occupied", ruling=Ruling.INCONCLUSIVE, text=text)]


def fullest(occupation: Occupation) -> tuple[str, list[Finding]]:
    """Who had the most KV, before and after; an open question unless that is one, and by far."""
    looks = (occupation.before, occupation.after)
    names = {max(loads, key=lambda name: loads[name].kv) for loads in looks if loads}
    name = min(names, default="")
    clear = len(names) == 1 and all(
        loads[name].kv > _BY_FAR * other.kv for loads in looks for who, other in loads.items() if who != name
    )
    if clear:
        return name, []
    told = "; then ".join(", ".join(f"{who} {load.kv:.1%}" for who, load in loads.items()) for loads in looks)
    return name, [
        Finding(check="kv", ruling=Ruling.INCONCLUSIVE, text=f"no one had by far the most KV: {told}")
    ]


@asynccontextmanager
async def occupied(
    router: Router, engines: Mapping[str, Endpoint], errands: Sequence[Errand]
) -> AsyncIterator[Occupation]:
    """``errands`` are under way on ``engines`` while the block runs, sent one after the other.

    At its end the clients walk away, and the engines are waited for.
    """
    occupation, tasks = Occupation(), list[asyncio.Task[object]]()
    try:
        for number, errand in enumerate(errands, start=1):
            tasks.append(asyncio.create_task(_occupy(router.endpoint, errand)))
            occupation.before = await _seen(engines, number)
            if not occupation.before:
                occupation.why = f"{number} long requests were not seen at work on {', '.join(engines)}"
                break
        yield occupation
        occupation.after = await _loads(engines)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await seek_quiet(engines, _PATIENCE_S)


async def _occupy(endpoint: Endpoint, errand: Errand) -> None:
    try:
        await endpoint.generate(errand.request, headers=errand.headers)
    except RequestFailed:
        # It is not seen at work then, which is what is told.
        return


async def _seen(engines: Mapping[str, Endpoint], number: int) -> dict[str, Load]:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        loads = await _loads(engines)
        if sum(load.requests for load in loads.values()) == number:
            return loads
        await asyncio.sleep(_POLL_S)
    return {}


async def _loads(engines: Mapping[str, Endpoint]) -> dict[str, Load]:
    loads = await asyncio.gather(*map(load_of, engines.values()))
    return dict(zip(engines, loads, strict=True))


async def load_of(engine: Endpoint) -> Load:
    """What an engine has to do by now."""
    metrics = await engine.metrics(_RUNNING, _WAITING, _KV_USAGE)
    return Load(
        requests=(metrics.total(_RUNNING) or 0) + (metrics.total(_WAITING) or 0),
        kv=metrics.gauge(_KV_USAGE) or 0,
    )


def _told(loads: Mapping[str, Load]) -> str:
    return ", ".join(f"{name} {load.requests:g}" for name, load in loads.items()) or "nothing"
