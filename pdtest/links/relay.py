"""Carries TCP connections to a port of a member, in whatever condition the link is in.

It lives on the cluster's loop, ends with it, and is steered by an assignment: a program of its own would be
one more thing to start, to steer and to end. What it costs is in docs/faults.md.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from pdtest.links.condition import HEALTHY, Condition, Manner
from pdtest.links.pair import Pair


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """What a relay has carried so far: connections, and the bytes that came from either side. No probes."""

    connections: int
    up: int
    down: int


class Relay:
    """Listens on ``address`` and ``port`` and connects to ``target``. Everything on one event loop."""

    def __init__(self, address: str, port: int, target: tuple[str, int]) -> None:
        self.address = address
        self.port = port
        self.target = target
        self.condition = HEALTHY
        self._server: asyncio.Server | None = None
        self._echo: asyncio.Server | None = None
        self._pairs: set[Pair] = set()
        #: Connections from these ports end at an echo instead of at the member.
        self._probes: set[int] = set()
        self._before = Traffic(connections=0, up=0, down=0)

    async def start(self) -> None:
        """Listen. Raises OSError when the port is taken."""
        self._echo = await asyncio.start_server(_echo, self.address, 0)
        await self._listen()

    async def close(self) -> None:
        """Drop everything."""
        self._deafen()
        for pair in tuple(self._pairs):
            pair.abort()
        if self._echo is not None:
            self._echo.close()
        await asyncio.sleep(0)  # sockets close in the loop's next round

    async def become(self, condition: Condition) -> None:
        """Change what the link is like, for existing connections and for new ones."""
        self.condition = condition
        if condition.manner is Manner.REFUSES:
            self._deafen()
        elif self._server is None:
            await self._listen()
        for pair in tuple(self._pairs):
            pair.follow(condition)

    async def expect_probe(self, port: int) -> None:
        """The connection that will come from this local port is a probe: it ends at an echo of ours."""
        self._probes.add(port)

    @property
    def traffic(self) -> Traffic:
        """What went through."""
        before, now = self._before, [pair for pair in self._pairs if not pair.is_probe]
        return Traffic(
            connections=before.connections,
            up=before.up + sum(pair.came_up for pair in now),
            down=before.down + sum(pair.came_down for pair in now),
        )

    @property
    def open(self) -> int:
        """Connections that exist now."""
        return sum(not pair.is_probe for pair in tuple(self._pairs))

    def joined(self, pair: Pair, from_port: int) -> tuple[str, int]:
        """A connection came. Where it is to go."""
        self._pairs.add(pair)
        if from_port in self._probes and self._echo is not None:
            self._probes.discard(from_port)
            pair.is_probe = True
            address, port = self._echo.sockets[0].getsockname()[:2]
            return str(address), int(port)
        before = self._before
        self._before = Traffic(connections=before.connections + 1, up=before.up, down=before.down)
        return self.target

    def left(self, pair: Pair) -> None:
        """It is over."""
        self._pairs.discard(pair)
        if not pair.is_probe:
            before = self._before
            self._before = Traffic(
                connections=before.connections,
                up=before.up + pair.came_up,
                down=before.down + pair.came_down,
            )

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Pair(self).near_end(), self.address, self.port)

    def _deafen(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends back what comes."""
    with suppress(OSError, asyncio.CancelledError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()
