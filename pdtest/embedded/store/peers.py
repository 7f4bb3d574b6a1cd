"""Connections to the owners of segments, opened when first needed and again when they broke."""

from __future__ import annotations

import asyncio
from typing import Any

from pdtest.embedded.channel import Channel


class Peers:
    """One connection per address.

    Args:
        timeout_s: how long a peer may take to connect or to answer.
    """

    def __init__(self, *, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._channels: dict[tuple[str, int], Channel] = {}
        self._locks: dict[tuple[str, int], asyncio.Lock] = {}

    async def call(self, host: str, port: int, method: str, **arguments: Any) -> Any:
        """The peer's answer. Raises OSError (also when it takes too long) and RemoteError."""
        async with asyncio.timeout(self._timeout_s):
            channel = await self._channel((host, port))
            return await channel.call(method, **arguments)

    async def close(self) -> None:
        """Hang up."""
        channels, self._channels = self._channels, {}
        await asyncio.gather(*(channel.close() for channel in channels.values()))

    async def _channel(self, address: tuple[str, int]) -> Channel:
        async with self._locks.setdefault(address, asyncio.Lock()):
            channel = self._channels.get(address)
            if channel is None or not channel.is_open:
                channel = self._channels[address] = await Channel.connect(*address)
            return channel
