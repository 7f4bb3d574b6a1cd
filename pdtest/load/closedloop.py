"""A closed loop: so many users, each of whom asks again as soon as the answer is there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TypeVar

A = TypeVar("A")
T = TypeVar("T")


async def closed_loop(
    asks: Iterable[A],
    send: Callable[[A], Awaitable[T]],
    *,
    concurrency: int,
    goes_on: Callable[[], bool] = lambda: True,
) -> list[T]:
    """Send each of ``asks``, ``concurrency`` at any time, for as long as it ``goes_on``.

    Gives results in their order of ending. Those under way are waited for. What ``send`` raises ends the
    others and is raised.
    """
    waiting, results = iter(asks), list[T]()
    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(_user(waiting, send, goes_on, results))
    return results


async def _user(
    waiting: Iterator[A], send: Callable[[A], Awaitable[T]], goes_on: Callable[[], bool], results: list[T]
) -> None:
    for ask in waiting:
        results.append(await send(ask))
        if not goes_on():
            return
