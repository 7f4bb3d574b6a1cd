"""Connections to other engines: one channel per tensor-parallel rank of the peer, opened by a handshake."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from pdtest.embedded.channel import Channel, RemoteError
from pdtest.embedded.connectors.geometry import Geometry


class Unreachable(Exception):
    """No usable connection to a peer; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Address:
    """An engine as kv_transfer_params name it. Rank r listens on ``port`` + r.

    ``engine_id`` None: whoever listens there. ``ranks``: how many the sender said there are; None: as many as
    the handshake says.
    """

    host: str
    port: int
    engine_id: str | None = None
    ranks: int | None = None

    def __str__(self) -> str:
        who = "the engine" if self.engine_id is None else f"engine {self.engine_id}"
        return f"{who} at {self.host}:{self.port}"


@dataclass(frozen=True, kw_only=True)
class Peer:
    """An engine that shook hands. ``channels``: by tensor-parallel rank."""

    engine_id: str
    channels: Sequence[Channel] = field(repr=False)

    @property
    def is_alive(self) -> bool:
        """False once any rank's connection is gone: the process ended."""
        return all(channel.is_open for channel in self.channels)

    async def close(self) -> None:
        """Drop the connections."""
        for channel in self.channels:
            await channel.close()


class Peers:
    """All engines this one talks to.

    A connection is kept for the peer's life. When the process behind it ended it is dropped, and the next
    one to ask shakes hands anew: another process may listen there by now, with another engine id.
    """

    def __init__(self, geometry: Geometry, *, timeout_s: float) -> None:
        self._geometry = geometry
        self._timeout_s = timeout_s
        self._known: dict[tuple[str, int], Peer] = {}
        self._locks: dict[tuple[str, int], asyncio.Lock] = {}

    async def reach(self, address: Address) -> Peer:
        """The engine at ``address``. Raises Unreachable: nobody or another is there, or it does not fit."""
        place = (address.host, address.port)
        async with self._locks.setdefault(place, asyncio.Lock()):
            known = self._known.get(place)
            if known is None or not known.is_alive or address.engine_id not in {known.engine_id, None}:
                known = await self._meet(address)
                former = self._known.get(place)
                self._known[place] = known
                if former is not None:
                    await former.close()
        if address.ranks is not None and len(known.channels) != address.ranks:
            raise Unreachable(
                f"{address} has {len(known.channels)} tensor-parallel ranks, "
                f"the parameters say {address.ranks}"
            )
        return known

    async def close(self) -> None:
        """Drop all connections."""
        for peer in self._known.values():
            await peer.close()
        self._known.clear()

    async def _meet(self, address: Address) -> Peer:
        channels: list[Channel] = []
        try:
            async with asyncio.timeout(self._timeout_s):
                engine_id, ranks = await self._shake_hands(address, 0, channels)
                one = replace(address, engine_id=engine_id)
                for rank in range(1, ranks):
                    await self._shake_hands(one, rank, channels)
        except BaseException as error:
            for channel in channels:
                await channel.close()
            if isinstance(error, TimeoutError):
                raise Unreachable(f"{address} did not answer within {self._timeout_s:g} s") from error
            if isinstance(error, (OSError, RemoteError, UnicodeError)):
                raise Unreachable(f"cannot reach {address}: {error}") from error
            raise
        return Peer(engine_id=engine_id, channels=channels)

    async def _shake_hands(self, address: Address, rank: int, channels: list[Channel]) -> tuple[str, int]:
        """Append the channel to one rank; the peer's id, and how many ranks it has."""
        channel = await Channel.connect(address.host, address.port + rank)
        channels.append(channel)
        hello = await channel.call("handshake")
        if address.engine_id not in {hello["engine_id"], None}:
            raise Unreachable(
                f"{address} is gone: engine {hello['engine_id']} listens there now, so it was restarted "
                "or the parameters are another's"
            )
        if differences := self._geometry.differences(hello["geometry"]):
            raise Unreachable(f"{address} does not fit: {differences}")
        if hello["rank"] != rank:
            raise Unreachable(f"{address}: port {address.port + rank} is rank {hello['rank']}, not {rank}")
        return str(hello["engine_id"]), int(hello["ranks"])
