"""NixlPushConnector: decode registers its blocks with prefill, which writes into them.

Modelled on vLLM 0.32, kv_connector/v1/nixl/{push_scheduler,push_worker}.py. There a registration is matched
by the request's id, which has to be the same on both legs, and frees the blocks at once; here by the id
that prefill handed over, so that several choices of a request can each register.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from pdtest.embedded.channel import Handler
from pdtest.embedded.connectors.awaited import Held
from pdtest.embedded.connectors.background import together
from pdtest.embedded.connectors.connector import Host
from pdtest.embedded.connectors.geometry import Share
from pdtest.embedded.connectors.nixl import TROUBLE, NixlConnector
from pdtest.embedded.connectors.peers import Address, Peer
from pdtest.embedded.connectors.writable import Writable
from pdtest.embedded.engine.sequence import Sequence as EngineSequence
from pdtest.embedded.model.memory import Heads


class NotHeld(LookupError):
    """A registration for blocks that prefill does not hold."""


class NixlPushConnector(NixlConnector):
    """Settings, lease and parameters are those of the pull; block ids in the parameters are not looked at."""

    mode: ClassVar[str] = "push"

    def __init__(self, config: Mapping[str, Any], host: Host) -> None:
        super().__init__(config, host)
        self._writable = Writable(host.memories)
        #: On prefill: the blocks of sequences that are held.
        self._pushable: dict[str, Sequence[int]] = {}

    def _check(self, params: Mapping[str, Any]) -> None:
        """Nothing else is needed."""

    def _said_besides(self, sequence: EngineSequence) -> dict[str, Any]:
        said = super()._said_besides(sequence)
        del said["remote_blocks_expiry_time"]
        return said

    # Decode.

    async def _bring(self, sequence: EngineSequence, held: Held, cached: int, promised: int) -> None:
        peer = await self._reach(held.address)
        blocks = self._blocks(sequence, cached + promised, cached)
        registration = {
            "request_id": sequence.id,
            "remote_request_id": held.remote_id,
            "decode_engine_id": self._host.engine_id,
            "decode_host": self._host.address,
            "decode_port": self._host.announced_port,
            "decode_tp_size": len(self._host.memories),
            "local_block_ids": blocks,
            "first_block": cached // self._host.block_size,
            "delay_s": self._host.transfer_delay_s,
        }
        with self._writable.open(sequence.id, blocks):
            await together(*(self._register(peer, rank, registration) for rank in range(len(peer.channels))))

    async def _register(self, peer: Peer, rank: int, registration: Mapping[str, Any]) -> None:
        """The answer comes when that rank has written everything."""
        await peer.channels[rank].call("register", **registration)

    async def _written(self, rank: int, asked: Mapping[str, Any]) -> bool:
        heads = Heads(first=asked["first_head"], count=asked["heads"])
        return self._writable.write(asked["request_id"], rank, asked["blocks"], heads, asked["content"])

    # Prefill.

    def _handlers(self, rank: int) -> dict[str, Handler]:
        handlers = super()._handlers(rank)
        del handlers["read"]
        return handlers | {"register": partial(self._push, rank), "write": partial(self._written, rank)}

    def _hold(self, sequence: EngineSequence, blocks: Sequence[int]) -> None:
        super()._hold(sequence, blocks)
        self._pushable[sequence.id] = blocks

    def _release(self, sequence_id: str) -> None:
        self._pushable.pop(sequence_id, None)
        super()._release(sequence_id)

    async def _push(self, rank: int, asked: Mapping[str, Any]) -> None:
        try:
            with self._leases.reading(asked["remote_request_id"]):
                await self._write_all(rank, asked)
        except (*TROUBLE, NotHeld):
            self._metrics.transfer_failed()
            raise

    async def _write_all(self, rank: int, asked: Mapping[str, Any]) -> None:
        """What this rank owns of the blocks, to all ranks that want some of it."""
        remote_id, remote = asked["remote_request_id"], asked["local_block_ids"]
        local = self._pushable.get(remote_id, ())[asked["first_block"] :][: len(remote)]
        if len(local) < len(remote):
            raise NotHeld(f"{remote_id}: {len(local)} of {len(remote)} blocks are held here (any more)")
        await asyncio.sleep(max(self._host.transfer_delay_s, asked["delay_s"]))
        peer = await self._peers.reach(
            Address(
                host=asked["decode_host"],
                port=asked["decode_port"],
                engine_id=asked["decode_engine_id"],
                ranks=asked["decode_tp_size"],
            )
        )
        mine = [share for share in self._shares(peer) if share.local == rank]
        await together(*(self._write(peer, share, asked["request_id"], local, remote) for share in mine))

    async def _write(
        self, peer: Peer, share: Share, name: str, local: Sequence[int], remote: Sequence[int]
    ) -> None:
        began = asyncio.get_running_loop().time()
        content = self._host.memories[share.local].read(local, share.heads)
        wanted = await peer.channels[share.remote].call(
            "write",
            request_id=name,
            blocks=list(remote),
            first_head=share.heads.first,
            heads=share.heads.count,
            content=content,
        )
        if wanted:
            self._count(began, len(content), len(local))
