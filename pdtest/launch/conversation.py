"""The run's side of talking to a supervisor on a host: questions, answers, signs of life."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol

from pdtest.launch.host_errors import HostLost

#: Signs of life in a time of allowed silence.
_BEATS = 5


class Reader(Protocol):
    """What the supervisor says."""

    async def readline(self) -> bytes:
        """With its end of line; empty once there is no more."""
        ...


class Writer(Protocol):
    """What it hears."""

    def write(self, data: bytes) -> None:
        """Hand over to be sent."""
        ...

    async def drain(self) -> None:
        """Return when there is room for more."""
        ...


class Declined(Exception):
    """The supervisor could not do it. ``told``: `kind`, and what goes with that."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        super().__init__(str(told))
        self.kind = str(told["kind"])
        self.told = told


class Conversation:
    """Asks a supervisor that has greeted. Over when `close` is called, or when the other side is gone."""

    def __init__(  # noqa: PLR0913 - by keyword, what it is told and whom it tells
        self,
        reader: Reader,
        writer: Writer,
        *,
        host: str,
        silence_s: float,
        hear: Callable[[Mapping[str, Any]], None],
        lose: Callable[[str], None],
    ) -> None:
        """``hear`` gets what it says unasked, ``lose`` once why it is gone, unless we closed."""
        self._host = host
        self._reader = reader
        self._writer = writer
        self._silence_s = silence_s
        self._hear = hear
        self._lose = lose
        self._waiting: dict[int, asyncio.Future[Mapping[str, Any]]] = {}
        self._number = 0
        self._heard_at = time.monotonic()
        self._over: str | None = None
        self._tasks = {asyncio.create_task(self._listen()), asyncio.create_task(self._beat())}

    @property
    def over(self) -> bool:
        """Nothing can be asked any more."""
        return self._over is not None

    async def ask(self, what: str, **data: Any) -> Mapping[str, Any]:
        """The answer. Raises Declined, HostLost."""
        if self._over is not None:
            raise self._lost(self._over)
        self._number += 1
        number = self._number
        answer: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        self._send({"id": number, "do": what, **data})
        try:
            with suppress(OSError):  # broken: then the listener knows, and resolves the answer
                await self._writer.drain()
            return await answer
        finally:
            self._waiting.pop(number, None)

    async def close(self, patience_s: float) -> None:
        """Say goodbye; the supervisor ends in good order. Says nothing of one that is gone already."""
        if self._over is None:
            with suppress(HostLost, TimeoutError):
                async with asyncio.timeout(patience_s):
                    await self.ask("bye")
            self._over = "the run is over"
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _listen(self) -> None:
        try:
            while line := await self._reader.readline():
                self._heard_at = time.monotonic()
                self._take(json.loads(line))
            reason = "it closed the connection"
        except (OSError, EOFError) as error:
            reason = str(error) or type(error).__name__
        except Exception as error:  # noqa: BLE001 - asyncssh has errors of its own, and what it says must be JSON
            reason = f"{type(error).__name__}: {error}"
        self._end(reason)

    async def _beat(self) -> None:
        while self._over is None:
            self._send({"id": 0, "do": "beat"})
            await asyncio.sleep(self._silence_s / _BEATS)
            silence = time.monotonic() - self._heard_at
            if silence > self._silence_s:
                self._end(f"nothing was heard of it for {silence:.0f} s")

    def _take(self, message: Mapping[str, Any]) -> None:
        number = message.get("id")
        if number is None:
            self._hear(message)
        elif (answer := self._waiting.get(number)) is not None and not answer.done():
            if "error" in message:
                answer.set_exception(Declined(message["error"]))
            else:
                answer.set_result(message["ok"])

    def _end(self, reason: str) -> None:
        if self._over is not None:
            return
        self._over = reason
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(self._lost(reason))
        self._lose(reason)

    def _lost(self, reason: str) -> HostLost:
        return HostLost(
            f"the connection to host '{self._host}' is gone: {reason}",
            expected=f"a sign of life every {self._silence_s:g} s",
            next_step="see whether the host and the network between are well; members there have ended",
        )

    def _send(self, message: Mapping[str, Any]) -> None:
        with suppress(OSError):
            self._writer.write(json.dumps(message).encode() + b"\n")
