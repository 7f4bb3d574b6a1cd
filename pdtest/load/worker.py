"""A process of the load's client: ``python -m pdtest.load.worker``, started by `pdtest.load.crew`.

It is told its share through stdin, says on stdout that it is ready, is told when to begin, and reports.
Before its share it may be asked for the time. When stdin closes, whoever started it is gone, and so is it.
"""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, BinaryIO

from pdtest.load.client import LoadClient
from pdtest.load.closedloop import closed_loop
from pdtest.load.descriptors import allow_all
from pdtest.load.journey import Journey, Seen, journeys
from pdtest.load.looplag import watching_lag
from pdtest.load.openloop import open_loop
from pdtest.load.report import Report, reported
from pdtest.load.share import Share
from pdtest.load.way import is_tls, urls_of

#: Connections are made so long before a request is due; those of the first requests before the load begins.
_AHEAD_S = 0.5
#: Warm-up requests under way at a time, and connections being made.
_WARMING, _CONNECTING = 8, 64
#: A wake-up that is earlier than this is on time: timers of the loop count in milliseconds.
_EARLY_S = 0.001


class Work:
    """Puts a share on."""

    def __init__(self, share: Share) -> None:
        self._share = share
        self._begun_at = 0.0
        self._clients: Mapping[str, LoadClient] = {}

    async def run(self, ready: Callable[[], None], begin: Callable[[], Any]) -> Report:
        """Warm up, say that it is ``ready``, and begin at the moment that ``begin`` gives."""
        share = self._share
        async with AsyncExitStack() as stack:
            self._clients = {
                url: await stack.enter_async_context(_client_for(url)) for url in urls_of(share.ways)
            }
            warming = journeys(share.warm_up, share.ways, share.timeout_s)
            await closed_loop(warming, self._go, concurrency=_WARMING)
            going = journeys(share.asks, share.ways, share.timeout_s)
            await closed_loop(self._first(going), self._prepare, concurrency=_CONNECTING)
            ready()
            self._begun_at = await begin()
            # What is kept until the end grows; looking for cycles in it would take ever longer.
            gc.collect()
            gc.disable()
            async with watching_lag() as lags:
                before = time.process_time()
                seen = await self._put_on(going)
                cpu_s, lasted_s = time.process_time() - before, self._clock()
        return reported(
            share.worker, seen, begun_at=self._begun_at, lags_s=lags, cpu_s=cpu_s, lasted_s=lasted_s
        )

    async def _put_on(self, going: Sequence[Journey]) -> Sequence[Seen]:
        share = self._share
        if share.concurrency is not None:
            await asyncio.sleep(-self._clock())
            return await closed_loop(going, self._go, concurrency=share.concurrency, goes_on=self._goes_on)
        due = [journey.ask.due_s or 0.0 for journey in going]

        async def send(number: int) -> Seen:
            return await self._go_at(due[number], going[number])

        ahead = [at_s - _AHEAD_S for at_s in due]
        return [one.result for one in await open_loop(ahead, send, clock=self._clock)]

    def _first(self, going: Sequence[Journey]) -> Sequence[Journey]:
        """Those whose connections must be there when it begins."""
        if self._share.concurrency is not None:
            return going[: self._share.concurrency]
        return [journey for journey in going if (journey.ask.due_s or 0.0) < _AHEAD_S]

    async def _prepare(self, journey: Journey) -> None:
        await journey.prepare(self._clients)

    async def _go(self, journey: Journey) -> Seen:
        await self._prepare(journey)
        return await journey.run()

    async def _go_at(self, due_s: float, journey: Journey) -> Seen:
        await self._prepare(journey)
        while (early_s := due_s - self._clock()) > _EARLY_S:  # noqa: ASYNC110 - what is waited for is a time
            await asyncio.sleep(early_s)
        return await journey.run()

    def _goes_on(self) -> bool:
        return self._share.until_s is None or self._clock() < self._share.until_s

    def _clock(self) -> float:
        return time.monotonic() - self._begun_at


def _client_for(url: str) -> Any:
    if is_tls(url):
        from pdtest.load.tls import TlsClient

        return TlsClient(url)
    from pdtest.load.protocol import ProtocolClient

    return ProtocolClient(url)


async def _told_to_begin() -> float:
    """The moment that stdin names, CLOCK_MONOTONIC. The process ends when stdin does, now or later."""
    loop, reader = asyncio.get_running_loop(), asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    line = await reader.readline()
    if not line:
        os._exit(1)
    loop.create_task(_abandoned(reader))
    return float(line)


async def _abandoned(reader: asyncio.StreamReader) -> None:
    await reader.read()
    os._exit(1)


def _tell(out: BinaryIO, what: object) -> None:
    pickle.dump(what, out)
    out.flush()


def _told_share(out: BinaryIO) -> Share:
    while True:
        share: Share | None = pickle.load(sys.stdin.buffer)  # noqa: S301 - from our parent
        if share is not None:
            return share
        _tell(out, time.monotonic())


def main() -> None:
    """Talks to its parent in pickles: both are the same program."""
    import uvloop

    allow_all()
    # What anything prints must not get between the pickles.
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    share = _told_share(out)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        report = runner.run(Work(share).run(lambda: _tell(out, None), _told_to_begin))
    _tell(out, report)


if __name__ == "__main__":
    main()
