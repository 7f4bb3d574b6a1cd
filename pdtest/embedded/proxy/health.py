"""Instances that are out are asked for their health until they are back."""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus

from pdtest.embedded.connections import Broken, Connections, described
from pdtest.embedded.proxy.instances import Instance, Pool

log = logging.getLogger(__name__)

#: At first an instance that is starting is asked more often: the whole deployment waits for it.
_FIRST_S = 0.05
_LAST_S = 1.0
_GROWTH = 1.5
_PATIENCE_S = 5.0


class HealthWatch:
    """One task per instance that is out. Instances that are in are not asked: requests tell."""

    def __init__(self, pool: Pool, connections: Connections) -> None:
        self._pool = pool
        self._connections = connections
        self._tasks: set[asyncio.Task[None]] = set()
        pool.on_out = self.watch

    def watch(self, instance: Instance) -> None:
        """Ask ``instance`` until it is back, or no longer in the pool."""
        task = asyncio.create_task(self._until_back(instance))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Ask no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _until_back(self, instance: Instance) -> None:
        pause = _FIRST_S
        while instance in self._pool and not await self._is_healthy(instance):
            await asyncio.sleep(pause)
            pause = min(pause * _GROWTH, _LAST_S)
        if instance in self._pool:
            self._pool.bring_back(instance)
            log.info("%s %s is in", instance.side, instance.address)

    async def _is_healthy(self, instance: Instance) -> bool:
        try:
            answer = await self._connections.get(instance.address, "/health", {}, timeout_s=_PATIENCE_S)
            answer.close()
            if answer.status == HTTPStatus.OK:
                return True
            instance.out = f"it answers GET /health with {answer.status}"
        except Broken as error:
            instance.out = f"it does not answer GET /health ({described(error)})"
        return False
