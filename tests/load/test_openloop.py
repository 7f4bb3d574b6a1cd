from __future__ import annotations

import asyncio
import time

import pytest

from pdtest.load.openloop import open_loop


def clock_from_now() -> object:
    began = time.perf_counter()
    return lambda: time.perf_counter() - began


async def test_a_late_answer_delays_nobody() -> None:
    """The first is answered only once the last has come: a closed loop would never end."""
    last_came = asyncio.Event()
    order: list[str] = []

    async def send(number: int) -> int:
        order.append(f"{number} in")
        if number == 2:
            last_came.set()
        await last_came.wait()
        order.append(f"{number} out")
        return number * 10

    async with asyncio.timeout(10):
        launched = await open_loop([0.0, 0.01, 0.02], send, clock=clock_from_now())  # type: ignore[arg-type]
    assert order[:3] == ["0 in", "1 in", "2 in"]
    assert [one.result for one in launched] == [0, 10, 20]
    assert [one.number for one in launched] == [0, 1, 2]


async def test_each_starts_at_its_time_and_not_before() -> None:
    async def send(number: int) -> None:
        pass

    launched = await open_loop([0.0, 0.05, 0.05, 0.1], send, clock=clock_from_now())  # type: ignore[arg-type]
    assert all(one.late_s >= -0.002 for one in launched)
    assert all(one.ended_s >= one.started_s for one in launched)
    assert launched[-1].started_s >= 0.098


async def test_what_a_request_raises_ends_the_others() -> None:
    ended: list[int] = []

    async def send(number: int) -> None:
        if number == 1:
            raise RuntimeError("broken client")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append(number)
            raise

    with pytest.raises(ExceptionGroup) as seen:
        await open_loop([0.0, 0.01], send, clock=clock_from_now())  # type: ignore[arg-type]
    assert seen.group_contains(RuntimeError, match="broken client")
    assert ended == [0]
