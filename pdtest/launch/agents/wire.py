"""Lines of JSON on standard input and output."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import sys
import threading
from typing import Any

#: Before the first message: what a shell's start-up files print comes earlier, and is passed over.
GREETING = "pdtest-supervisor "
#: Messages that wait to be written; more, and whoever has much to say had better wait.
_ROOM = 32
_ROOM_POLL_S = 0.01


class Wire:
    """Messages to and from the run that started this program.

    In threads of their own: sshd may give one socket for both directions, which asyncio would take for
    closed by its peer as soon as something arrives.
    """

    def __init__(self) -> None:
        """Inside a running loop."""
        self._loop = asyncio.get_running_loop()
        self._received: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._to_send: queue.Queue[bytes] = queue.Queue()
        for work in (self._read, self._write):
            threading.Thread(target=work, daemon=True).start()

    async def receive(self) -> dict[str, Any] | None:
        """The next message; None when there will be none."""
        return await self._received.get()

    def send(self, message: dict[str, Any]) -> None:
        """Hand it over to be written."""
        self._to_send.put(json.dumps(message).encode() + b"\n")

    @property
    def crowded(self) -> bool:
        """Too much is waiting to be written."""
        return self._to_send.qsize() > _ROOM

    async def room(self) -> None:
        """Return when it is not crowded."""
        while self.crowded:  # noqa: ASYNC110 - a thread writes, and knows of no loop
            await asyncio.sleep(_ROOM_POLL_S)

    async def flushed(self) -> None:
        """Return when all is written."""
        while self._to_send.unfinished_tasks:  # noqa: ASYNC110
            await asyncio.sleep(_ROOM_POLL_S)

    def _read(self) -> None:
        for line in sys.stdin.buffer:
            self._loop.call_soon_threadsafe(self._received.put_nowait, json.loads(line))
        self._loop.call_soon_threadsafe(self._received.put_nowait, None)

    def _write(self) -> None:
        broken = False
        while True:
            data = memoryview(self._to_send.get())
            while data and not broken:
                try:
                    data = data[os.write(1, data) :]
                except OSError:  # the other side is gone, which the end of the input tells as well
                    broken = True
            self._to_send.task_done()


def greet(message: dict[str, Any]) -> None:
    """The first message, written before there is a loop."""
    os.write(1, f"{GREETING}{json.dumps(message)}\n".encode())
