"""Requests end at once when the member they wait for dies."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from pdtest.client.errors import BrokenStream, Call, MemberGone, Unreachable
from pdtest.events.member import MemberDied

T = TypeVar("T")

#: A dying process closes its connections a moment before its death is noticed. Long enough to tell
#: the two apart, short enough not to be felt.
GRACE_S = 0.5


class Deathwatch:
    """Guards requests against a death that a thread or another event loop will notice.

    ``died`` resolves with what is known about the end; cancelled means that nobody watches any
    more. The future outlives requests and event loops, so nothing of theirs is left hanging on it: wrapping
    it with asyncio would cancel it together with the first request that ends.
    """

    def __init__(self, died: Future[Any] | None) -> None:
        self._died = died
        self._bells: set[asyncio.Future[None]] = set()
        self._lock = threading.Lock()
        if died is not None:
            died.add_done_callback(self._ring)

    async def guard(self, call: Call, work: Coroutine[Any, Any, T]) -> T:
        """The result of ``work``. Raises what it raises, or MemberGone as soon as the member died.

        A connection that breaks because the member is dying is reported as the death.
        """
        with self._bell() as bell:
            try:
                return await self._first(call, work, bell)
            except (Unreachable, BrokenStream) as error:
                if self._died is not None and await _rings(bell, GRACE_S):
                    raise MemberGone(call, how=self._how()) from error
                raise

    async def _first(self, call: Call, work: Coroutine[Any, Any, T], bell: asyncio.Future[None]) -> T:
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait((task, bell), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise MemberGone(call, how=self._how())
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait((task,))

    @contextmanager
    def _bell(self) -> Iterator[asyncio.Future[None]]:
        bell: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self._lock:
            self._bells.add(bell)
        if self._is_dead():
            _strike(bell)
        try:
            yield bell
        finally:
            with self._lock:
                self._bells.discard(bell)
            bell.cancel()

    def _ring(self, _died: Future[Any]) -> None:
        if not self._is_dead():
            return
        with self._lock:
            bells = tuple(self._bells)
        for bell in bells:
            # The loop of a test that is over is closed, and with it nobody waits.
            with suppress(RuntimeError):
                bell.get_loop().call_soon_threadsafe(_strike, bell)

    def _is_dead(self) -> bool:
        return self._died is not None and self._died.done() and not self._died.cancelled()

    def _how(self) -> str:
        if self._died is None:
            return "unknown"
        end = self._died.exception() or self._died.result()
        if isinstance(end, MemberDied):
            return f"exit code {end.returncode}" + (f": {end.diagnosis}" if end.diagnosis else "")
        return str(end)


def _strike(bell: asyncio.Future[None]) -> None:
    if not bell.done():
        bell.set_result(None)


async def _rings(bell: asyncio.Future[None], within_s: float) -> bool:
    await asyncio.wait((bell,), timeout=within_s)
    return bell.done()
