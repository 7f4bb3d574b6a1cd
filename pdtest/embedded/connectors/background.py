"""Work that nobody waits for, and several things at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Coroutine
from typing import Any

_log = logging.getLogger(__name__)


class Background:
    """Tasks that end with their owner. What they raise is logged."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run ``work`` beside everything else."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def when_done(self, tasks: Collection[asyncio.Task[None]]) -> asyncio.Task[None]:
        """Done when all of ``tasks`` are. Whoever cancels it does not cancel them."""
        return self.start(_wait(tuple(tasks)))

    async def close(self) -> None:
        """Cancel all, and wait until they are through."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("background work failed", exc_info=error)


async def _wait(tasks: Collection[asyncio.Task[None]]) -> None:
    if tasks:
        await asyncio.wait(tasks)


async def together(*parts: Coroutine[Any, Any, None]) -> None:
    """All of ``parts`` at once. The first failure ends the others, and is raised when they are through."""
    if len(parts) == 1:
        await parts[0]
        return
    try:
        async with asyncio.TaskGroup() as group:
            for part in parts:
                group.create_task(part)
    except BaseExceptionGroup as problems:
        raise problems.exceptions[0] from None
