"""A KV cache that is full: of blocks that requests hold which nobody ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from pdtest.client.endpoint import Endpoint
from pdtest.faults.fault import Aftermath, Unverified

_USAGE = "vllm:kv_cache_usage_perc"
_POLL_S = 0.05


class ExhaustedKV:
    """Requests hold the blocks of an engine until the fault is lifted.

    ``occupy`` sends one more of them each time it is called: a first leg that no decode comes for, or a long
    answer. Lifting cancels those under way; blocks that are held under a lease are free when that ends.
    """

    name = "exhausted KV"
    aftermath = Aftermath()

    def __init__(
        self,
        engine: Endpoint,
        occupy: Callable[[], Awaitable[Any]],
        *,
        share: float = 0.8,
        within_s: float = 30.0,
        at_once: int = 4,
    ) -> None:
        self.target = engine.name
        self.members = frozenset({engine.name})
        self._engine = engine
        self._occupy = occupy
        self._share = share
        self._within_s = within_s
        self._at_once = at_once
        self._holding: list[asyncio.Task[Any]] = []

    async def arm(self) -> None:
        """Send until so much is in use; no longer than ``within_s``. What is refused is not sent again."""
        deadline = time.monotonic() + self._within_s
        while await self._usage() < self._share and time.monotonic() < deadline:
            if sum(not task.done() for task in self._holding) < self._at_once:
                self._holding.append(asyncio.ensure_future(self._occupy()))
            await asyncio.sleep(_POLL_S)

    async def verify(self) -> str:
        """The engine itself says so. Raises Unverified."""
        usage = await self._usage()
        if usage < self._share:
            refused = next((str(task.exception()) for task in self._holding if _failed(task)), "none refused")
            raise Unverified(
                f"{self.target} is not full",
                expected=f"{_USAGE} of at least {self._share:g} after {self._within_s:g} s",
                seen=f"{usage:g} with {len(self._holding)} requests; {refused}",
            )
        return f"{usage:.0%} of the blocks in use, by {len(self._holding)} requests"

    async def lift(self) -> None:
        """Let go of those under way."""
        for task in self._holding:
            task.cancel()
        await asyncio.gather(*self._holding, return_exceptions=True)
        self._holding = []

    async def _usage(self) -> float:
        return (await self._engine.metrics(_USAGE)).gauge(_USAGE) or 0.0


def _failed(task: asyncio.Task[Any]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is not None
