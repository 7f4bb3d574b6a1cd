"""A client's process: frames to and from its agent, and the ways to end or stall it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pdtest.services.service import Command
from pdtest.stores.errors import StoreClientBroken, StoreClientGone

_LINE_LIMIT = 1 << 20
_LAST_LINES = 8
#: To say goodbye to a store that answers; some clients wait for their own heartbeat meanwhile.
_CLOSE_S = 15.0


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What an agent said: a line of JSON and its blobs."""

    head: Mapping[str, Any]
    blobs: tuple[bytes, ...]


class AgentProcess:
    """An agent, from its start to its end.

    Its stdin's end is its own, also when pytest dies.
    """

    def __init__(self, process: asyncio.subprocess.Process, *, name: str, log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process

    @classmethod
    async def start(
        cls, command: Command, directory: Path, *, name: str, env: Mapping[str, str]
    ) -> AgentProcess:
        """Start it in ``directory``, which is made and gets the command's files. Raises OSError."""
        log = _prepared(directory, command) / f"{name}.log"
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *command.argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=output,
                cwd=directory,
                env=dict(os.environ) | dict(command.env) | dict(env),
                start_new_session=True,  # Ctrl-C in the terminal is not its to handle
                limit=_LINE_LIMIT,
            )
        return cls(process, name=name, log=log)

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    async def send(self, head: Mapping[str, Any], blobs: Sequence[bytes] = ()) -> None:
        """Ask. Raises StoreClientGone."""
        stdin = self._process.stdin
        assert stdin is not None  # noqa: S101 - it was asked for
        try:
            stdin.write(json.dumps({**head, "blobs": [len(blob) for blob in blobs]}).encode() + b"\n")
            for blob in blobs:
                stdin.write(blob)
            await stdin.drain()
        except OSError as error:
            raise await self._gone() from error

    async def receive(self) -> Frame:
        """The next frame. Raises StoreClientGone; StoreClientBroken for an error that the agent reports."""
        stdout = self._process.stdout
        assert stdout is not None  # noqa: S101 - it was asked for
        try:
            head = json.loads(await stdout.readuntil(b"\n"))
            blobs = tuple([await stdout.readexactly(size) for size in head.pop("blobs")])
        except (OSError, asyncio.IncompleteReadError) as error:
            raise await self._gone() from error
        if "error" in head:
            raise StoreClientBroken(
                f"{self.name}: {head['error']}", seen=self.last_words(), where=str(self.log)
            )
        return Frame(head=head, blobs=blobs)

    def signal(self, number: signal.Signals) -> None:
        """SIGKILL, SIGSTOP, SIGCONT. That it has ended is no error."""
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def kill(self) -> None:
        """End it without a chance to say goodbye."""
        self.signal(signal.SIGKILL)
        await self._process.wait()

    async def close(self) -> None:
        """Let it say goodbye, and end it when that takes too long. Nobody may be waiting for a frame."""
        with suppress(OSError):
            assert self._process.stdin is not None  # noqa: S101 - it was asked for
            self._process.stdin.close()
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._ended()
        except TimeoutError:
            await self.kill()

    def last_words(self) -> str:
        """The end of what it wrote to stderr."""
        try:
            text = self.log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return "nothing"
        return "\n".join(text.splitlines()[-_LAST_LINES:]) or "nothing"

    async def _ended(self) -> None:
        # Whatever it still says is read and dropped: with a full pipe it would never end.
        with suppress(OSError):
            assert self._process.stdout is not None  # noqa: S101 - it was asked for
            while await self._process.stdout.read(_LINE_LIMIT):
                pass
        await self._process.wait()

    async def _gone(self) -> StoreClientGone:
        code = await self._process.wait()
        return StoreClientGone(
            f"{self.name} ended with {_in_words(code)} before it answered",
            seen=self.last_words(),
            where=str(self.log),
        )


def _prepared(directory: Path, command: Command) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in command.files.items():
        (directory / name).write_text(text, encoding="utf-8")
    return directory


def _in_words(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
