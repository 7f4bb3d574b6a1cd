"""A client's tie to the meta process: registered, kept alive, and tied again when it broke."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pdtest.embedded.channel import Channel, RemoteError
from pdtest.embedded.store.errors import StoreError, StoreUnreachable
from pdtest.embedded.store.segment import Segment

#: Between attempts to reach a meta process that is not there.
_PAUSE_S = 0.1


@dataclass(frozen=True, kw_only=True)
class Registration:
    """One life of the tie. What was begun under one registration means nothing under the next."""

    client: str
    channel: Channel
    heartbeat_s: float


class Link:
    """Asks the meta process, and registers first when need be.

    Args:
        host: the meta process's.
        port: the meta process's.
        segment: what this client contributes.
        timeout_s: how long an answer may take.
    """

    def __init__(self, host: str, port: int, *, segment: Segment, timeout_s: float) -> None:
        self.host = host
        self.port = port
        self._segment = segment
        self._timeout_s = timeout_s
        self._registration: Registration | None = None
        self._registering = asyncio.Lock()
        self._heart: asyncio.Task[None] | None = None
        self._own_address = ("", 0)

    async def start(self, host: str, port: int, *, patience_s: float) -> None:
        """Register; the segment is served at ``host``:``port``. Raises StoreUnreachable, StoreError."""
        self._own_address = (host, port)
        deadline = asyncio.get_running_loop().time() + patience_s
        while True:
            try:
                await self._registered()
                break
            except StoreUnreachable:
                if asyncio.get_running_loop().time() > deadline:
                    raise
            await asyncio.sleep(_PAUSE_S)
        self._heart = asyncio.create_task(self._beat())

    async def close(self) -> None:
        """Say goodbye, if anybody listens, and hang up."""
        if self._heart is not None:
            self._heart.cancel()
            await asyncio.gather(self._heart, return_exceptions=True)
        registration, self._registration = self._registration, None
        if registration is not None:
            with suppress(StoreError):  # nobody there to hear it is as good
                await self.ask_as(registration, "unregister")
            await registration.channel.close()

    async def ask(self, method: str, **arguments: Any) -> tuple[Registration, Any]:
        """The answer, and the registration under which what it began goes on. Raises StoreError.

        Asked once more, newly registered, when the tie turns out to have broken: what was begun under the
        former registration is undone by the meta process.
        """
        registration = await self._registered()
        try:
            return registration, await self.ask_as(registration, method, **arguments)
        except _Broken:
            registration = await self._registered()
            return registration, await self.ask_as(registration, method, **arguments)

    async def ask_as(self, registration: Registration, method: str, **arguments: Any) -> Any:
        """The answer to what only makes sense under ``registration``. Raises StoreError."""
        channel = registration.channel
        try:
            async with asyncio.timeout(self._timeout_s):
                return await channel.call(method, client=registration.client, **arguments)
        except RemoteError as error:
            kind, _, message = str(error).partition(": ")
            if kind != "UnknownClient":
                raise StoreError(
                    f"the store at {self.host}:{self.port} refused {method!r}: {error}"
                ) from error
            await channel.close()
            raise _Broken(f"the store at {self.host}:{self.port} gave this client up: {message}") from error
        except ConnectionError as error:
            raise _Broken(str(self._unreachable(error))) from error
        except OSError as error:
            await channel.close()
            raise self._unreachable(error) from error

    async def _registered(self) -> Registration:
        async with self._registering:
            if self._registration is None or not self._registration.channel.is_open:
                self._registration = await self._register()
            return self._registration

    async def _register(self) -> Registration:
        host, port = self._own_address
        try:
            async with asyncio.timeout(self._timeout_s):
                channel = await Channel.connect(self.host, self.port)
                answer = await channel.call("register", host=host, port=port, capacity=self._segment.capacity)
        except OSError as error:
            raise self._unreachable(error) from error
        except RemoteError as error:
            raise StoreError(f"the store at {self.host}:{self.port} does not take us: {error}") from error
        return Registration(client=answer["client"], channel=channel, heartbeat_s=answer["heartbeat_s"])

    async def _beat(self) -> None:
        while True:
            try:
                registration, _ = await self.ask("heartbeat")
                with suppress(TimeoutError):
                    async with asyncio.timeout(registration.heartbeat_s):
                        await registration.channel.wait_closed()
            except StoreError:
                await asyncio.sleep(_PAUSE_S)  # asking again registers, as soon as there is somebody

    def _unreachable(self, error: OSError) -> StoreUnreachable:
        reason = f"no answer within {self._timeout_s:g} s" if isinstance(error, TimeoutError) else str(error)
        return StoreUnreachable(
            f"the store's meta process at {self.host}:{self.port} cannot be reached: {reason}; it is asked"
            " again, and all that it knew is lost if it was started anew"
        )


class _Broken(StoreUnreachable):
    """The registration is void: the connection broke, or the meta process does not know it (any more)."""
