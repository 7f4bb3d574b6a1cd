"""An open loop: requests come when it is their time, whether or not earlier ones were answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Launched(Generic[T]):
    """One request: when it was to start, when it did, when it was over. Seconds of the load's clock."""

    number: int
    planned_s: float
    started_s: float
    ended_s: float
    result: T

    @property
    def late_s(self) -> float:
        """How much later than planned it started: the client's fault, not the service's."""
        return self.started_s - self.planned_s


async def open_loop(
    arrivals: Sequence[float], send: Callable[[int], Awaitable[T]], *, clock: Callable[[], float]
) -> tuple[Launched[T], ...]:
    """Call ``send`` with the number of each request at its time, and wait for all.

    A late answer delays nobody. What ``send`` raises ends the others and is raised.
    """
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_launch(number, at_s, send, clock)) for number, at_s in enumerate(arrivals)
        ]
    return tuple(task.result() for task in tasks)


async def _launch(
    number: int, planned_s: float, send: Callable[[int], Awaitable[T]], clock: Callable[[], float]
) -> Launched[T]:
    await asyncio.sleep(planned_s - clock())
    started_s = clock()
    result = await send(number)
    return Launched(number=number, planned_s=planned_s, started_s=started_s, ended_s=clock(), result=result)
