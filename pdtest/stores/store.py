"""The store under test: makes clients and values, reads its metrics, restarts it."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from pdtest.client.metrics import Metrics
from pdtest.errors import PdtestError
from pdtest.launch.kin import OWNER_VARIABLE
from pdtest.services.pool import Gauges, PoolAccess, Promises
from pdtest.stores.client import StoreClient
from pdtest.stores.errors import Kind, StoreRefused
from pdtest.stores.values import Value

_PAUSE_S = 0.05
#: Beyond what the store promises: a busy machine, and a scrape.
SLACK_S = 10.0


class NotQuiet(PdtestError):
    """The store still counts memory of clients that are gone."""

    title = "store not quiet"


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The store's metrics at one moment. ``counts`` are by operation; what it does not count is absent."""

    objects: int
    allocated: int
    capacity: int
    counts: dict[str, int]

    @property
    def usage(self) -> float:
        """Share of the capacity that is taken; 0 where there is none."""
        return self.allocated / self.capacity if self.capacity else 0.0

    def since(self, before: Reading) -> dict[str, int]:
        """What was counted in between."""
        return {name: count - before.counts[name] for name, count in self.counts.items()}


class Store:
    """What the fixture `store` gives to a test: its own clients of a store that others may use too.

    Args:
        member: the store's name in the environment.
        access: how its clients are made, what it promises, its metrics.
        directory: for the clients' logs.
        owner: the run's tag, for the clients.
        seed: of the values' nonces and of `random`.
        restart: ends the store's process and starts it again; ``True`` for SIGKILL.
    """

    def __init__(  # noqa: PLR0913 - by keyword what it needs
        self,
        *,
        member: str,
        access: PoolAccess,
        directory: Path,
        owner: str,
        seed: str,
        restart: Callable[[bool], Awaitable[None]],
    ) -> None:
        self.member = member
        self.segment_bytes = access.segment_bytes
        self.random = random.Random(seed)  # noqa: S311 - a schedule, not a secret
        self._access = access
        self._directory = directory
        self._env = {OWNER_VARIABLE: owner}
        self._restart = restart
        self._prefix = f"{self.random.randbytes(3).hex()}{os.urandom(3).hex()}"
        self._numbers = itertools.count(1)
        self._clients: list[StoreClient] = []
        self._http = httpx.AsyncClient(trust_env=False, timeout=SLACK_S)

    @property
    def promises(self) -> Promises:
        """What may be expected of it."""
        return self._access.promises

    @property
    def gauges(self) -> Gauges:
        """Where its metrics are."""
        return self._access.gauges

    async def client(self, *, segment_bytes: int | None = None, timeout_s: float = 20.0) -> StoreClient:
        """A new client, closed with the test. It contributes ``segment_bytes``, else what the member says.

        0 is what the member says as well, where the store has no clients without memory.
        """
        if segment_bytes is None or not (segment_bytes or self.promises.spectators):
            segment_bytes = self.segment_bytes
        number = len(self._clients) + 1
        client = await StoreClient.start(
            self._access,
            self._directory / f"client-{number}",
            name=f"client-{number}",
            segment_bytes=segment_bytes,
            env=self._env,
            timeout_s=timeout_s,
        )
        self._clients.append(client)
        return client

    async def clients(self, *segments: int | None) -> list[StoreClient]:
        """Several at once, one for each entry of ``segments`` (as `client`'s ``segment_bytes``)."""
        return [await self.client(segment_bytes=segment) for segment in segments]

    def value(self, size: int, *, key: str | None = None) -> Value:
        """A value under a key that nobody else uses, or a further one for ``key``."""
        number = next(self._numbers)
        return Value(key=key or f"{self._prefix}-{number}", nonce=f"{self._prefix}.{number}", size=size)

    def values(self, count: int, size: int) -> dict[str, Value]:
        """Several, by key."""
        made = (self.value(size) for _ in range(count))
        return {value.key: value for value in made}

    async def reading(self) -> Reading:
        """Its metrics now. Raises httpx.HTTPError, and NotQuiet's kin where one is missing."""
        answer = await self._http.get(self.gauges.url)
        metrics = Metrics.parse(answer.raise_for_status().text)
        return Reading(
            objects=self._metric(metrics, self.gauges.objects),
            allocated=self._metric(metrics, self.gauges.allocated),
            capacity=self._metric(metrics, self.gauges.capacity),
            counts={
                name: sum(self._metric(metrics, one) for one in count.of)
                - sum(self._metric(metrics, one) for one in count.less)
                for name, count in self.gauges.counts.items()
            },
        )

    async def reads(self, holds: Callable[[Reading], bool], within_s: float) -> Reading:
        """The first reading that ``holds``, or the last one after ``within_s`` seconds and some slack."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within_s + SLACK_S
        while True:
            reading = await self.reading()
            if holds(reading) or loop.time() > deadline:
                return reading
            await asyncio.sleep(_PAUSE_S)

    async def sleep(self, seconds: float) -> None:
        """Until a time that the store counts is over, seen from any process."""
        await asyncio.sleep(seconds * 1.1 + _PAUSE_S)

    async def stored(self, client: StoreClient, value: Value) -> None:
        """Put a value, as soon as a store that evicts beside the puts has room. Raises StoreRefused."""
        await self._insist(
            lambda: client.put(value.key, value.content),
            Kind.NO_ROOM if self.promises.evicts_within_s else None,
            self.promises.evicts_within_s,
        )

    async def removed(self, client: StoreClient, key: str) -> None:
        """Remove an object, as soon as no lease holds that up. Raises StoreRefused."""
        await self._insist(
            lambda: client.remove(key),
            Kind.LEASED if self.promises.lease_holds_removal else None,
            self.promises.lease_s,
        )

    async def restart(self, *, kill: bool = False) -> None:
        """End the store's process, with SIGKILL if so wanted, and start it again. Returns when it serves."""
        await self._restart(kill)

    @asynccontextmanager
    async def in_use(self) -> AsyncIterator[Store]:
        """Closes the clients at the end. Raises NotQuiet when the store keeps the memory of those gone."""
        before = await self.reading()
        try:
            yield self
            await self._close_clients()
            await self._await_quiet(before)
        finally:
            await self._close_clients()
            await self._http.aclose()

    async def _insist(
        self, attempt: Callable[[], Awaitable[None]], excused: Kind | None, within_s: float
    ) -> None:
        """Again and again while the refusal is of the kind ``excused``, for so long and some slack."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within_s + SLACK_S
        while True:
            try:
                return await attempt()
            except StoreRefused as refused:
                if refused.refusal.kind is not excused or loop.time() > deadline:
                    raise
            await asyncio.sleep(_PAUSE_S)

    async def _close_clients(self) -> None:
        await asyncio.gather(*(client.close() for client in self._clients))

    async def _await_quiet(self, before: Reading) -> None:
        within_s = self.promises.client_timeout_s
        after = await self.reads(lambda now: now.capacity <= before.capacity, within_s)
        if after.capacity > before.capacity:
            raise NotQuiet(
                f"'{self.member}' still counts the memory of {len(self._clients)} clients that are gone",
                expected=f"{before.capacity} bytes of capacity within {within_s:g} s and {SLACK_S:g} s",
                seen=f"{after.capacity} bytes of capacity, {after.objects} objects",
                where=self.gauges.url,
            )

    def _metric(self, metrics: Metrics, name: str) -> int:
        value = metrics.total(name)
        if value is None:
            raise NotQuiet(f"'{self.member}' exports no metric {name}", where=self.gauges.url)
        return round(value)
