"""MooncakeConnector: both legs at once, under one transfer id; prefill writes when decode has said where.

Modelled on vLLM 0.32, kv_connector/v1/mooncake/mooncake_connector.py. Decode learns from the bootstrap
server of prefill where its ranks are, tells each of them where its own blocks are, and they write once the
prompt is computed. Two things differ. Decode hears at once when prefill ended without anything to send
(there it waits for the abort timeout), and several choices of a request can each be written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import urlsplit

from pdtest.embedded.connectors import params as read
from pdtest.embedded.connectors.ascend import abort_timeout_s
from pdtest.embedded.connectors.awaited import Held
from pdtest.embedded.connectors.bootstrap import Bootstrap, addresses
from pdtest.embedded.connectors.connector import Handover, Host
from pdtest.embedded.connectors.http import HttpCalls, HttpFailed
from pdtest.embedded.connectors.nixl import TROUBLE
from pdtest.embedded.connectors.nixl_push import NixlPushConnector
from pdtest.embedded.connectors.peers import Address, Peer, Unreachable
from pdtest.embedded.connectors.transfer_metrics import Instruments, MooncakeMetrics, TransferMetrics
from pdtest.embedded.connectors.transfers import Transfers
from pdtest.embedded.engine.sequence import Finish
from pdtest.embedded.engine.sequence import Sequence as EngineSequence

_HTTP_S = 5.0
#: Decode waits longer than prefill, so that prefill can say that it gave up (vLLM: RCVTIMEO).
_LONGER_S = 60.0


class MooncakeConnector(NixlPushConnector):
    """Blocks are held, and a prefill is waited for, VLLM_MOONCAKE_ABORT_REQUEST_TIMEOUT seconds (480).

    An engine of any role but kv_consumer registers with the bootstrap server, which its data-parallel rank 0
    runs on `Host.bootstrap_port`.
    """

    mode: ClassVar[str] = "mooncake"
    handed_over: ClassVar[frozenset[Finish]] = frozenset({Finish.LENGTH})

    _metrics: MooncakeMetrics

    def __init__(self, config: Mapping[str, Any], host: Host) -> None:
        super().__init__(config, host)
        self._abort_s = abort_timeout_s()
        self._transfer_s = self._abort_s + _LONGER_S
        self._is_producer = config.get("kv_role") != "kv_consumer"
        self._http = HttpCalls(timeout_s=_HTTP_S)
        self._bootstrap = Bootstrap() if self._is_producer and host.data_rank == 0 else None
        self._transfers = Transfers()
        #: Prefill's ranks by engine id, as bootstrap servers said.
        self._known: dict[str, Address] = {}
        #: Transfer ids of sequences that are held.
        self._transfer_of: dict[str, str] = {}

    async def start(self) -> None:
        """Listen, and register each rank. Raises OSError."""
        if self._bootstrap is not None:
            await self._bootstrap.start(self._host.address, self._host.bootstrap_port)
        await super().start()
        if self._is_producer:
            await self._register_workers()

    async def close(self) -> None:
        """Stop all of it."""
        await super().close()
        if self._bootstrap is not None:
            await self._bootstrap.close()

    def queued(self, sequence: EngineSequence) -> None:
        """Prefill: decode may ask for it before it is computed."""
        super().queued(sequence)
        transfer_id = self._asked_for(sequence)
        if transfer_id is not None:
            self._transfers.announce(transfer_id)

    async def match(self, sequence: EngineSequence, cached: int) -> int:
        """All prompt tokens that are not cached. Prefill: there must be a transfer id."""
        params = sequence.kv_transfer_params
        if params is not None and read.flag(params, "do_remote_decode"):
            read.text(params, "transfer_id")
        return await super().match(sequence, cached)

    def finished(self, sequence: EngineSequence) -> Handover:
        """Prefill: hold the blocks and tell decode, which is asking already. There are no parameters."""
        transfer_id = self._asked_for(sequence)
        if not self._ended(sequence) or transfer_id is None:
            return Handover()
        blocks = self._blocks(sequence, sequence.computed)
        if sequence.finish not in self.handed_over or not blocks:
            self._transfers.end(transfer_id, f"prefill ended with {sequence.finish}, nothing is sent")
            return Handover()
        if not self._transfers.ready(transfer_id, sequence.id, blocks):
            return Handover()
        self._hold(sequence, blocks)
        self._transfer_of[sequence.id] = transfer_id
        return Handover(hold=True)

    def _asked_for(self, sequence: EngineSequence) -> str | None:
        """The transfer id of a sequence that is to be sent."""
        params = sequence.kv_transfer_params
        if params is None or not self._is_producer or params.get("do_remote_decode") is not True:
            return None
        transfer_id = params.get("transfer_id")
        return transfer_id if isinstance(transfer_id, str) and transfer_id else None

    def _lease_s(self, extra: Mapping[str, Any]) -> float:  # noqa: ARG002
        return abort_timeout_s()

    def _heartbeat_s(self, lease_s: float) -> float | None:  # noqa: ARG002
        return None

    def _counters(self) -> TransferMetrics:
        return MooncakeMetrics(Instruments(self._host.registry, self._host.labels))

    # Decode.

    def _held(self, params: Mapping[str, Any] | None) -> Held | None:
        """The address is the bootstrap server's, the name is the transfer id."""
        if params is None or not read.flag(params, "do_remote_prefill"):
            return None
        transfer_id = read.text(params, "transfer_id")
        engine_id = read.text(params, "remote_engine_id")
        said = read.text(params, "remote_bootstrap_addr")
        try:
            url = urlsplit(said if "://" in said else f"http://{said}")
            host, port = url.hostname, url.port
        except ValueError:
            host = port = None
        if not host or not port:
            raise read.BadParams("remote_bootstrap_addr", "http://host:port", said)
        return Held(address=Address(host=host, port=port, engine_id=engine_id), remote_id=transfer_id)

    async def _reach(self, address: Address) -> Peer:
        engine_id = str(address.engine_id)
        known = self._known.get(engine_id)
        if known is None:
            url = f"http://{address.host}:{address.port}"
            try:
                self._known |= addresses(await self._http.get(f"{url}/query"))
            except (HttpFailed, ValueError) as error:
                raise Unreachable(f"bootstrap server: {error}") from error
            known = self._known.get(engine_id)
            if known is None:
                raise Unreachable(f"remote engine_id {engine_id} not found from bootstrap server {url}")
        return await self._peers.reach(known)

    def _load_failed(self) -> None:
        self._metrics.receipt_failed()

    async def _over(self, held: Held) -> None:
        """Whether written or not wanted any more, prefill may let go."""
        try:
            async with asyncio.timeout(_HTTP_S):
                peer = await self._reach(held.address)
                await peer.channels[0].call("notify", request_id=held.remote_id)
        except TROUBLE:
            self._metrics.notification_failed()

    # Prefill.

    async def _register_workers(self) -> None:
        url = f"http://{self._host.address}:{self._host.bootstrap_port}/register"
        for rank, port in enumerate(self._host.side_ports):
            worker = {
                "engine_id": self._host.engine_id,
                "dp_rank": self._host.data_rank,
                "tp_rank": rank,
                "pp_rank": 0,
                "addr": f"tcp://{self._host.address}:{port}",
            }
            try:
                await self._http.post(url, worker)
            except HttpFailed as error:
                raise ConnectionError(f"cannot register with the bootstrap server: {error}") from error

    async def _notified(self, rank: int, asked: Mapping[str, Any]) -> None:  # noqa: ARG002
        sequence_id = self._transfers.end(asked["request_id"], "decode does not need it any more")
        if sequence_id is not None:
            self._leases.consume(sequence_id)

    async def _push(self, rank: int, asked: Mapping[str, Any]) -> None:
        """As soon as the prompt is computed."""
        sequence_id, _ = await self._transfers.wait(asked["remote_request_id"], timeout_s=self._abort_s)
        await super()._push(rank, {**asked, "remote_request_id": sequence_id})

    def _release(self, sequence_id: str) -> None:
        transfer_id = self._transfer_of.pop(sequence_id, None)
        if transfer_id is not None:
            self._transfers.end(transfer_id, "its blocks are not held any more")
        super()._release(sequence_id)
