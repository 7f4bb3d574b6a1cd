from __future__ import annotations

import asyncio
import time

from pdtest.load.looplag import watching_lag


async def test_a_stall_counts_for_as_long_as_it_lasts() -> None:
    async with watching_lag() as lags:
        await asyncio.sleep(0.05)
        before = len(lags)
        time.sleep(0.3)  # noqa: ASYNC251 - the stall
        await asyncio.sleep(0.05)
    assert before >= 1
    assert max(lags) > 0.27
    assert sum(lag > 0.1 for lag in lags) >= 17
    assert min(lags) >= 0


async def test_a_loop_that_has_nothing_to_do_is_hardly_late() -> None:
    async with watching_lag() as lags:
        await asyncio.sleep(0.3)
    assert len(lags) > 5
    assert sorted(lags)[len(lags) // 2] < 0.1
