"""NixlConnector: decode reads the blocks that prefill holds for it under a lease.

Modelled on vLLM 0.32, kv_connector/v1/nixl/{base,pull}_{scheduler,worker}.py. Reads are one-sided as with
RDMA: prefill looks at no request when it serves blocks, so foreign block ids give foreign KV.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from pdtest.embedded.channel import ChannelServer, Handler, RemoteError
from pdtest.embedded.connectors import params as read
from pdtest.embedded.connectors.awaited import Awaited, Held
from pdtest.embedded.connectors.background import Background, together
from pdtest.embedded.connectors.connector import Handover, Host, LoadFailed
from pdtest.embedded.connectors.geometry import Geometry, Share, shares
from pdtest.embedded.connectors.leases import Leases
from pdtest.embedded.connectors.options import extra_config, seconds
from pdtest.embedded.connectors.peers import Address, Peer, Peers, Unreachable
from pdtest.embedded.connectors.transfer_metrics import Instruments, NixlMetrics, TransferMetrics
from pdtest.embedded.engine.sequence import Finish
from pdtest.embedded.engine.sequence import Sequence as EngineSequence
from pdtest.embedded.model.memory import Heads

_log = logging.getLogger(__name__)

_LEASE_S = 30.0
_HANDSHAKE_S = 5.0
_TRANSFER_S = 60.0

#: What goes wrong with peers; ValueError: texts from parameters that no address or message can be made of.
TROUBLE = (OSError, RemoteError, Unreachable, ValueError)


class NixlConnector:
    """Both sides of the pull: prefill holds and serves, decode asks and reads.

    kv_connector_extra_config, in seconds: ``kv_lease_duration`` (30), ``handshake_timeout`` (5) and
    ``transfer_timeout`` (60), after which a load fails.
    """

    mode: ClassVar[str] = "pull"
    #: vLLM 0.32 hands over both; up to 0.2x, and Ascend's connectors, LENGTH only.
    handed_over: ClassVar[frozenset[Finish]] = frozenset({Finish.LENGTH, Finish.STOP})

    def __init__(self, config: Mapping[str, Any], host: Host) -> None:
        extra = extra_config(config)
        lease_s = self._lease_s(extra)
        self._host = host
        self._transfer_s = seconds(extra, "transfer_timeout", _TRANSFER_S)
        self._metrics = self._counters()
        self._geometry = Geometry.of(host, self.mode)
        self._peers = Peers(self._geometry, timeout_s=seconds(extra, "handshake_timeout", _HANDSHAKE_S))
        self._leases = Leases(
            duration_s=lease_s,
            # vLLM 0.32: nixl/base_worker.py, _lease_extension; base_scheduler.py, _heartbeat_interval.
            extension_s=lease_s * 2 / 3,
            ranks=len(host.memories),
            release=self._release,
            expired=self._expired,
        )
        self._awaited = Awaited(over=self._over, alive=self._alive, heartbeat_s=self._heartbeat_s(lease_s))
        self._background = Background()
        self._servers: list[ChannelServer] = []

    async def start(self) -> None:
        """Listen, one port per tensor-parallel rank."""
        for rank, port in enumerate(self._host.side_ports):
            server = ChannelServer(self._handlers(rank))
            await server.start(self._host.address, port)
            self._servers.append(server)

    async def close(self) -> None:
        """Stop listening; cancel what is under way."""
        await self._background.close()
        await self._awaited.close()
        await self._peers.close()
        self._leases.close()
        for server in self._servers:
            await server.close()

    def queued(self, sequence: EngineSequence) -> None:
        """From here on the peer hears that its blocks are waited for."""
        try:
            held = self._held(sequence.kv_transfer_params)
        except read.BadParams:
            return  # match says so, where the client hears it
        if held is not None:
            self._awaited.add(sequence.id, sequence.request_id, held)

    async def match(self, sequence: EngineSequence, cached: int) -> int:
        """All prompt tokens that are not cached."""
        params = sequence.kv_transfer_params
        read.flag(params, "do_remote_decode")
        held = self._held(params)
        if params is None or held is None:
            return 0
        self._check(params)
        promised = max(len(sequence.prompt) - cached, 0)
        if promised:
            self._awaited.add(sequence.id, sequence.request_id, held)
        else:
            self._awaited.settle(sequence.id)
        return promised

    async def load(self, sequence: EngineSequence, cached: int, promised: int) -> None:
        """Read the blocks; every rank here from every rank there that owns some of its heads."""
        params = sequence.kv_transfer_params or {}
        held = self._held(params)
        if held is None or not promised:
            self._awaited.settle(sequence.id)
            return
        try:
            async with asyncio.timeout(self._transfer_s):
                await self._bring(sequence, held, cached, promised)
        except (*TROUBLE, LoadFailed) as problem:
            self._load_failed()
            self._awaited.settle(sequence.id, failed=True)
            reason = str(problem) or f"nothing came for {self._transfer_s:g} s"
            raise LoadFailed(f"KV of {held.remote_id} from {held.address}: {reason}") from problem
        self._awaited.settle(sequence.id)

    def layer_computed(self, sequence: EngineSequence, layer: int, start: int, end: int) -> None:
        """Blocks are served when the whole prompt is computed."""

    def finished(self, sequence: EngineSequence) -> Handover:
        """Prefill: hold the blocks for decode. Decode: nothing more is needed of the peer."""
        if not self._ended(sequence) or sequence.finish not in self.handed_over:
            return Handover()
        blocks = self._blocks(sequence, sequence.computed)
        if blocks:
            self._hold(sequence, blocks)
        return Handover(params=self._handover(sequence, blocks), hold=bool(blocks))

    def _ended(self, sequence: EngineSequence) -> bool:
        """Decode needs nothing more. Whether it was a prefill for somebody."""
        params = sequence.kv_transfer_params
        known = self._awaited.forget(sequence.id)
        try:
            held = self._held(params)
            is_prefill = read.flag(params, "do_remote_decode")
        except read.BadParams:
            return False
        if held is not None and not known:
            # It was turned away before it was queued; the peer holds blocks all the same.
            self._background.start(self._over(held))
        return is_prefill

    def _hold(self, sequence: EngineSequence, blocks: Sequence[int]) -> None:  # noqa: ARG002 - for push
        self._leases.hold(sequence.id)

    def _lease_s(self, extra: Mapping[str, Any]) -> float:
        return seconds(extra, "kv_lease_duration", _LEASE_S)

    def _heartbeat_s(self, lease_s: float) -> float | None:
        return lease_s / 6

    def _counters(self) -> TransferMetrics:
        return NixlMetrics(Instruments(self._host.registry, self._host.labels))

    def _held(self, params: Mapping[str, Any] | None) -> Held | None:
        """What decode's parameters name; None for other requests. Raises BadParams."""
        if params is None or not read.flag(params, "do_remote_prefill"):
            return None
        return Held(
            address=Address(
                host=read.text(params, "remote_host"),
                port=read.port(params, "remote_port"),
                engine_id=read.text(params, "remote_engine_id"),
                ranks=self._ranks_there(params),
            ),
            remote_id=read.text(params, "remote_request_id"),
        )

    def _check(self, params: Mapping[str, Any]) -> None:
        """What else must be in decode's parameters. Raises BadParams."""
        read.block_ids(params, "remote_block_ids")

    def _ranks_there(self, params: Mapping[str, Any]) -> int | None:
        return read.count(params, "tp_size", least=1)

    def _handover(self, sequence: EngineSequence, blocks: Sequence[int]) -> dict[str, Any]:
        return {
            "do_remote_prefill": True,
            "do_remote_decode": False,
            "remote_block_ids": [list(blocks)],
            "remote_engine_id": self._host.engine_id,
            "remote_request_id": sequence.id,
            "remote_host": self._host.address,
            "remote_port": self._host.announced_port,
            **self._said_besides(sequence),
        }

    def _said_besides(self, sequence: EngineSequence) -> dict[str, Any]:
        """What this connector tells of itself, beside where the blocks are."""
        return {
            "tp_size": len(self._host.memories),
            "dcp_size": 1,
            "pp_size": 1,
            "remote_num_tokens": sequence.computed,
            "remote_blocks_expiry_time": None,
            "transfer_mode": self.mode,
        }

    def _blocks(self, sequence: EngineSequence, end: int, start: int = 0) -> list[int]:
        """The sequence's blocks for tokens ``start`` to ``end - 1``."""
        size = self._host.block_size
        return sequence.blocks[start // size : -(-end // size)]

    def _shares(self, peer: Peer) -> list[Share]:
        mine = [memory.heads for memory in self._host.memories]
        return shares(mine, self._host.config.kv_heads, len(peer.channels))

    # Decode.

    async def _reach(self, address: Address) -> Peer:
        return await self._peers.reach(address)

    def _load_failed(self) -> None:
        self._metrics.transfer_failed()

    async def _bring(self, sequence: EngineSequence, held: Held, cached: int, promised: int) -> None:
        peer = await self._reach(held.address)
        local = self._blocks(sequence, cached + promised, cached)
        remote = self._remote_blocks(sequence.kv_transfer_params or {}, cached, promised)
        await together(*(self._read(peer, share, held, local, remote) for share in self._shares(peer)))

    def _remote_blocks(self, params: Mapping[str, Any], cached: int, promised: int) -> list[int]:
        size = self._host.block_size
        blocks = read.block_ids(params, "remote_block_ids")
        needed = -(-(cached + promised) // size)
        if len(blocks) < needed:
            raise LoadFailed(
                f"{len(blocks)} blocks of {size} tokens were named, {needed} are needed "
                f"for a prompt of {cached + promised} tokens"
            )
        return blocks[cached // size : needed]

    async def _read(
        self, peer: Peer, share: Share, held: Held, local: Sequence[int], remote: Sequence[int]
    ) -> None:
        began = asyncio.get_running_loop().time()
        content = await peer.channels[share.remote].call(
            "read",
            request_id=held.remote_id,
            blocks=list(remote),
            first_head=share.heads.first,
            heads=share.heads.count,
            delay_s=self._host.transfer_delay_s,
        )
        self._host.memories[share.local].write(local, share.heads, content)
        self._count(began, len(content), len(local))

    def _count(self, began: float, size: int, blocks: int) -> None:
        """One transfer between a pair of ranks. A descriptor names one block of K or V of one layer."""
        self._metrics.transferred(
            seconds=asyncio.get_running_loop().time() - began,
            size=size,
            descriptors=2 * self._host.config.layers * blocks,
        )

    async def _over(self, held: Held) -> None:
        """Tell every rank there, once for every rank here that reads from it."""
        try:
            async with asyncio.timeout(self._transfer_s):
                peer = await self._reach(held.address)
                pairs = self._shares(peer)
                consumers = Counter(share.remote for share in pairs)
                for share in pairs:
                    await peer.channels[share.remote].call(
                        "notify", request_id=held.remote_id, consumers=consumers[share.remote]
                    )
        except TROUBLE as problem:
            self._metrics.notification_failed()
            _log.warning("%s was not told that %s is over: %s", held.address, held.remote_id, problem)

    async def _alive(self, address: Address, remote_ids: Sequence[str]) -> None:
        try:
            async with asyncio.timeout(self._transfer_s):
                peer = await self._reach(address)
                await peer.channels[0].call("heartbeat", request_ids=list(remote_ids))
        except TROUBLE as problem:
            _log.info("no heartbeat to %s: %s", address, problem)

    # Prefill.

    def _handlers(self, rank: int) -> dict[str, Handler]:
        return {
            "handshake": partial(self._greet, rank),
            "heartbeat": self._renew,
            "notify": partial(self._notified, rank),
            "read": partial(self._serve, rank),
        }

    async def _greet(self, rank: int, _: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "engine_id": self._host.engine_id,
            "rank": rank,
            "ranks": len(self._host.memories),
            "geometry": self._geometry.spoken(),
        }

    async def _renew(self, asked: Mapping[str, Any]) -> None:
        self._leases.renew(asked["request_ids"])

    async def _notified(self, rank: int, asked: Mapping[str, Any]) -> None:
        if not self._leases.notify(asked["request_id"], rank=rank, consumers=asked["consumers"]):
            self._metrics.notified_late()
            _log.warning("%s was read by a peer, but is not held here (any more)", asked["request_id"])

    async def _serve(self, rank: int, asked: Mapping[str, Any]) -> bytes:
        with self._leases.reading(asked["request_id"]):
            # Either side may want transfers to be slow.
            await asyncio.sleep(max(self._host.transfer_delay_s, asked["delay_s"]))
            heads = Heads(first=asked["first_head"], count=asked["heads"])
            return self._host.memories[rank].read(asked["blocks"], heads)

    def _release(self, sequence_id: str) -> None:
        self._host.release(sequence_id)

    def _expired(self, sequence_id: str) -> None:
        self._metrics.lease_expired()
        _log.warning("the lease of %s is over, nobody fetched its KV; its blocks are free", sequence_id)
