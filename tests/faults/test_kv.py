from __future__ import annotations

import asyncio
from typing import cast

from pdtest.client.endpoint import Endpoint
from pdtest.client.metrics import Metrics
from pdtest.faults import ExhaustedKV, inflicted

from .conftest import unverified


class FakeEngine:
    """A tenth of its blocks for each request that it holds."""

    name = "prefill"

    def __init__(self) -> None:
        self.held = 0

    async def metrics(self, *_: str) -> Metrics:
        return Metrics.parse(f"vllm:kv_cache_usage_perc {self.held / 10}\n")

    async def hold(self) -> None:
        """Until it is cancelled."""
        self.held += 1
        try:
            await asyncio.sleep(60)
        finally:
            self.held -= 1

    async def keep(self) -> None:
        self.held += 1

    async def refuse(self) -> None:
        raise ValueError("no room")


async def test_it_holds_until_it_is_lifted() -> None:
    engine = FakeEngine()
    fault = ExhaustedKV(cast("Endpoint", engine), engine.hold, share=0.3)
    async with inflicted(fault) as seen:
        assert engine.held >= 3
        assert "of the blocks in use" in seen.what
    assert engine.held == 0


async def test_what_engines_hold_by_themselves_counts() -> None:
    engine = FakeEngine()
    async with inflicted(ExhaustedKV(cast("Endpoint", engine), engine.keep, share=0.5)):
        assert engine.held >= 5


async def test_an_engine_that_is_not_full_is_not_taken_for_full() -> None:
    engine = FakeEngine()
    fault = ExhaustedKV(cast("Endpoint", engine), engine.refuse, within_s=0.2)
    assert "no room" in str(await unverified(fault))
