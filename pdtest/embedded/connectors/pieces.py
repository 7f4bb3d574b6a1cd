"""Sending KV layer by layer to a peer that keeps it until it is taken; both sides of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from pdtest.embedded.channel import ChannelServer, Handler
from pdtest.embedded.connectors.arrivals import Arrivals, Piece
from pdtest.embedded.connectors.background import together
from pdtest.embedded.connectors.connector import Host
from pdtest.embedded.connectors.geometry import Geometry, Share, shares
from pdtest.embedded.connectors.peers import Address, Peer, Peers
from pdtest.embedded.model.memory import Heads

_BYTES_PER_NUMBER = 4


class PieceExchange:
    """Listens for pieces on a port per tensor-parallel rank, and sends them to others.

    ``wanted``: whether a piece, as it came over the wire, is to be kept; it may raise. ``mode``: what both
    sides of a handshake must agree on.
    """

    def __init__(
        self,
        host: Host,
        arrivals: Arrivals,
        *,
        mode: str,
        handshake_s: float,
        wanted: Callable[[Mapping[str, Any]], bool] = lambda _: True,
    ) -> None:
        self._host = host
        self._arrivals = arrivals
        self._wanted = wanted
        self._geometry = Geometry.of(host, mode)
        self._servers: list[ChannelServer] = []
        self.peers = Peers(self._geometry, timeout_s=handshake_s)

    async def start(self, ports: Sequence[int], handlers: Mapping[str, Handler] | None = None) -> None:
        """Listen; ``handlers`` answer more methods. Raises OSError."""
        for rank, port in enumerate(ports):
            server = ChannelServer(
                {
                    **(handlers or {}),
                    "handshake": partial(self._greet, rank),
                    "put": partial(self._put, rank),
                }
            )
            await server.start(self._host.address, port)
            self._servers.append(server)

    async def close(self) -> None:
        """Stop listening."""
        await self.peers.close()
        for server in self._servers:
            await server.close()

    def copy(self, blocks: Sequence[int], layer: int) -> list[bytes]:
        """One layer of ``blocks``, by rank: what `send` sends, whatever becomes of the blocks."""
        layers = slice(layer, layer + 1)
        return [memory.read(blocks, memory.heads, layers=layers) for memory in self._host.memories]

    async def send(self, address: Address, copied: Sequence[bytes], **piece: Any) -> None:
        """Send what `copy` gave, each head to the rank there that owns it.

        ``piece``: request_id, layer, first_block, blocks, and what else ``wanted`` there looks at. Raises
        OSError, RemoteError, Unreachable, ValueError.
        """
        delay_s = self._host.transfer_delay_s
        await asyncio.sleep(delay_s)
        peer = await self.peers.reach(address)
        mine = [memory.heads for memory in self._host.memories]
        pairs = shares(mine, self._host.config.kv_heads, len(peer.channels))
        await together(
            *(
                self._send_share(
                    peer, share, content=self._cut(copied[share.local], share), delay_s=delay_s, **piece
                )
                for share in pairs
            )
        )

    async def _send_share(self, peer: Peer, share: Share, **piece: Any) -> None:
        await peer.channels[share.remote].call(
            "put", first_head=share.heads.first, heads=share.heads.count, **piece
        )

    def _cut(self, content: bytes, share: Share) -> bytes:
        """The heads of ``share`` out of all heads of the rank."""
        own = self._host.memories[share.local].heads
        if own == share.heads:
            return content
        size = self._host.config.head_dim * _BYTES_PER_NUMBER
        view, first = memoryview(content), share.heads.first - own.first
        return b"".join(
            view[start + first * size :][: share.heads.count * size]
            for start in range(0, len(content), own.count * size)
        )

    async def _greet(self, rank: int, _: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "engine_id": self._host.engine_id,
            "rank": rank,
            "ranks": len(self._host.memories),
            "geometry": self._geometry.spoken(),
        }

    async def _put(self, rank: int, asked: Mapping[str, Any]) -> None:
        # Either side may want transfers to be slow.
        await asyncio.sleep(max(self._host.transfer_delay_s - asked["delay_s"], 0.0))
        if not self._wanted(asked):
            return
        self._arrivals.put(
            asked["request_id"],
            Piece(
                rank=rank,
                layer=asked["layer"],
                first_block=asked["first_block"],
                blocks=asked["blocks"],
                heads=Heads(first=asked["first_head"], count=asked["heads"]),
                content=asked["content"],
            ),
        )
