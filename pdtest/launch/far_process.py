"""A member that runs on another host, and what it writes, as far as it has arrived."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from pdtest.launch.vitals import Vitals

#: What ssh itself returns when its connection breaks.
LOST: Final = 255


class Home(Protocol):
    """The host that it runs on."""

    async def end(self, member: str, grace_s: float) -> None:
        """End it and all it started there."""
        ...

    async def look(self, member: str) -> list[Vitals]:
        """All that it started there and that lives."""
        ...

    async def look_at(self, those: Sequence[Vitals]) -> list[Vitals]:
        """How processes there are now."""
        ...

    async def signal(self, those: Sequence[Vitals], number: int) -> list[bool]:
        """Send a signal to processes there."""
        ...


class FarProcess:
    """A member on another host. It has no process here."""

    pid = None

    def __init__(self, host: Home, member: str, far_pid: int, log: Path) -> None:
        self.member = member
        #: Its process on that host.
        self.far_pid = far_pid
        self._host = host
        self._log = log
        self._returncode: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def returncode(self) -> int | None:
        """None while it runs; negative for the signal that ended it; `LOST` when the host is."""
        return self._returncode.result() if self._returncode.done() else None

    async def wait(self) -> int:
        """Return code, once it has ended."""
        return await asyncio.shield(self._returncode)

    async def stop(self, grace_s: float) -> None:
        """End the member and all its kin, wherever they went on its host. Raises StillAlive."""
        await self._host.end(self.member, grace_s)

    async def look(self) -> list[Vitals]:
        """All that the member started and that lives, the first first. Raises HostLost."""
        return await self._host.look(self.member)

    async def look_at(self, those: Sequence[Vitals]) -> list[Vitals]:
        """How each of ``those`` is now, ended or not. Raises HostLost."""
        return await self._host.look_at(those)

    async def signal(self, those: Sequence[Vitals], number: int) -> list[bool]:
        """Send it to each of ``those`` that has not ended; whether the kernel took it. Raises HostLost."""
        return await self._host.signal(those, number)

    def ended(self, returncode: int) -> None:
        """The supervisor says so."""
        if not self._returncode.done():
            self._returncode.set_result(returncode)

    def lost(self, why: str) -> None:
        """Nobody will ever say how it ended. ``why`` becomes the last line of its log."""
        if not self._returncode.done():
            append(self._log, f"\n{why}\n".encode())
            self._returncode.set_result(LOST)


def append(path: Path, data: bytes) -> None:
    """Add to a log. Where its directory is gone, nobody wants it any more."""
    with suppress(FileNotFoundError):
        path.parent.mkdir(exist_ok=True)  # of a further log file in a directory of its own
        with path.open("ab") as file:
            file.write(data)
