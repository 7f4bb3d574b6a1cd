"""Looks at the instances ten times a second, and tells who goes by that."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping

from pdtest.embedded.proxy.instances import Instance, Pool, Side
from pdtest.embedded.proxy.routing.pressure import Pressure
from pdtest.embedded.proxy.routing.wanted import Wanted

log = logging.getLogger(__name__)

_EVERY_S = 0.1


class Pulse:
    """Moves the pressure, says which prefill instances are overloaded, and how many instances are wanted.

    ``window_s`` is the time of which busy shares are. An instance that is busier than ``overload`` is
    overloaded.
    """

    def __init__(
        self,
        pool: Pool,
        pressure: Pressure,
        wanted: Mapping[Side, Wanted],
        *,
        window_s: float,
        overload: float,
    ) -> None:
        self.wanted = wanted
        self._pool = pool
        self._pressure = pressure
        self._window_s = window_s
        self._overload = overload
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look, until it is closed."""
        self._task = asyncio.create_task(self._beat())

    async def close(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    def share(self, instance: Instance) -> float:
        """Of its time of late, what it was busy for."""
        return instance.occupancy.share(self._window_s)

    def beat(self, at_s: float, dt_s: float) -> None:
        """Look once, at ``at_s`` seconds, ``dt_s`` after the last time."""
        shares = {instance: self.share(instance) for instance in self._pool}
        means = {side: _mean([shares[one] for one in self._pool.usable(side)]) for side in Side}
        self._pressure.follow(means[Side.PREFILL], means[Side.DECODE], dt_s)
        for instance in self._pool.of(Side.PREFILL):
            self._judge(instance, shares[instance])
        for side, wanted in self.wanted.items():
            before = wanted.number
            number = wanted.look(len(self._pool.of(side)), means[side], at_s)
            if before is not None and number != before:
                log.info("%s %s instances are wanted, %.0f %% busy", number, side, 100 * means[side])

    def _judge(self, instance: Instance, share: float) -> None:
        is_so = share > self._overload
        if is_so and not instance.overloaded:
            log.warning("%s %s is overloaded: %.0f %% busy", instance.side, instance.address, 100 * share)
        instance.overloaded = is_so

    async def _beat(self) -> None:
        last_s = time.monotonic()
        while True:
            await asyncio.sleep(_EVERY_S)
            now_s = time.monotonic()
            self.beat(now_s, now_s - last_s)
            last_s = now_s


def _mean(shares: list[float]) -> float:
    return sum(shares) / len(shares) if shares else 0.0
