"""P2pNcclConnector: prefill sends its KV to the decode instance that the request's id names.

Modelled on vLLM 0.11 to 0.23, kv_connector/v1/p2p/p2p_nccl_{connector,engine}.py. A request whose id names
nobody is computed as without a connector (there it hangs or kills the engine), and what does not come is
given up after ``wait_timeout`` seconds (there never). Unequal tensor parallelism works.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from pdtest.embedded.channel import RemoteError
from pdtest.embedded.connectors.arrivals import Arrivals, NotArrived
from pdtest.embedded.connectors.background import Background
from pdtest.embedded.connectors.connector import Handover, Host, LoadFailed
from pdtest.embedded.connectors.options import BadConfig, extra_config, seconds
from pdtest.embedded.connectors.peers import Address, Unreachable
from pdtest.embedded.connectors.pieces import PieceExchange
from pdtest.embedded.connectors.pings import ping
from pdtest.embedded.engine.sequence import Finish
from pdtest.embedded.engine.sequence import Sequence as EngineSequence

_log = logging.getLogger(__name__)

_TO_DECODE = re.compile(r"___decode_addr_(.*):(\d+)")
_FROM_PREFILL = re.compile(r"___prefill_addr_(.*):(\d+)___")
_WAIT_S = 60.0
_HANDSHAKE_S = 5.0
_BUFFER_BYTES = 256 << 20
_LAST_PORT = 65535


class P2pNcclConnector:
    """One side or the other, by kv_role: kv_consumer decodes, any other prefills.

    ``kv_port``: rank r listens on it + r. ``kv_buffer_size``: bytes of KV that decode keeps (256 MiB).
    kv_connector_extra_config: ``proxy_ip``, ``proxy_port`` and ``http_port``, for registration; without
    ``proxy_ip`` there is none. ``wait_timeout`` seconds (60).
    """

    def __init__(self, config: Mapping[str, Any], host: Host) -> None:
        extra = extra_config(config)
        self._host = host
        self._is_producer = config.get("kv_role") != "kv_consumer"
        first = _port(config, "kv_port") + host.data_rank * len(host.memories)
        self._ports = [first + rank for rank in range(len(host.memories))]
        self._wait_s = seconds(extra, "wait_timeout", _WAIT_S)
        self._proxy = _proxy(extra)
        self._http_port = _port(extra, "http_port") if self._proxy else host.http_port
        self._arrivals = Arrivals(
            host, limit_bytes=int(config.get("kv_buffer_size") or _BUFFER_BYTES), keep_s=self._wait_s
        )
        self._exchange = PieceExchange(
            host,
            self._arrivals,
            mode="p2p",
            handshake_s=seconds(extra, "handshake_timeout", _HANDSHAKE_S),
        )
        self._sending: defaultdict[str, set[asyncio.Task[None]]] = defaultdict(set)
        self._background = Background()

    async def start(self) -> None:
        """Listen, one port per tensor-parallel rank, and register."""
        await self._exchange.start(self._ports)
        if self._proxy and self._host.data_rank == 0:
            own = f"{self._host.address}:{self._ports[0]}"
            said = {
                "type": "P" if self._is_producer else "D",
                "http_address": f"{self._host.address}:{self._http_port}",
                "zmq_address": own,
            }
            self._background.start(ping(self._proxy, own, said))

    async def close(self) -> None:
        """Stop all of it."""
        await self._background.close()
        await self._exchange.close()
        self._arrivals.close()

    def queued(self, sequence: EngineSequence) -> None:
        """Decode: what came for the request stays until all its choices have it."""
        if self._is_expected(sequence):
            self._arrivals.claim(sequence.request_id, sequence.id)

    async def match(self, sequence: EngineSequence, cached: int) -> int:
        """Decode: all prompt tokens that are not cached, but for the last one."""
        return max(len(sequence.prompt) - 1 - cached, 0) if self._is_expected(sequence) else 0

    async def load(self, sequence: EngineSequence, cached: int, promised: int) -> None:
        """Wait until all of it has come."""
        if not promised:
            return
        size = self._host.block_size
        first, end = cached // size, -(-(cached + promised) // size)
        self._arrivals.claim(sequence.request_id, sequence.id)
        try:
            await self._arrivals.wait(sequence.request_id, first, end, timeout_s=self._wait_s)
            self._arrivals.take(sequence.request_id, sequence.blocks, first, end)
        except (NotArrived, ValueError) as problem:
            raise LoadFailed(f"KV of {sequence.request_id}: {problem}") from problem

    def layer_computed(self, sequence: EngineSequence, layer: int, start: int, end: int) -> None:  # noqa: ARG002
        """Prefill: send the layer once it is computed for the whole prompt, cached tokens included."""
        if not self._is_producer or end < len(sequence.prompt):
            return
        address = _address(_TO_DECODE, sequence.request_id)
        if address is None:
            return
        blocks = sequence.blocks[: -(-len(sequence.prompt) // self._host.block_size)]
        # Copied at once, as there: the blocks are freed without waiting.
        task = self._background.start(
            self._send(
                address,
                self._exchange.copy(blocks, layer),
                request_id=sequence.request_id,
                layer=layer,
                first_block=0,
                blocks=len(blocks),
            )
        )
        sending = self._sending[sequence.id]
        sending.add(task)
        task.add_done_callback(sending.discard)

    def finished(self, sequence: EngineSequence) -> Handover:
        """No parameters; prefill's answer waits until everything is sent."""
        self._arrivals.done(sequence.request_id, sequence.id)
        sending = self._sending.pop(sequence.id, None)
        if not sending or sequence.finish in {Finish.ABORT, Finish.ERROR}:
            return Handover()
        return Handover(answer_after=self._background.when_done(sending))

    def _is_expected(self, sequence: EngineSequence) -> bool:
        return not self._is_producer and _address(_FROM_PREFILL, sequence.request_id) is not None

    async def _send(self, address: Address, copied: list[bytes], **piece: Any) -> None:
        try:
            await self._exchange.send(address, copied, **piece)
        except (OSError, RemoteError, Unreachable, ValueError) as problem:
            _log.warning(
                "layer %s of %s did not get to %s: %s", piece["layer"], piece["request_id"], address, problem
            )


def _address(pattern: re.Pattern[str], request_id: str) -> Address | None:
    found = pattern.search(request_id)
    if found is None or not 0 < int(found[2]) <= _LAST_PORT:
        return None
    return Address(host=found[1], port=int(found[2]))


def _proxy(extra: Mapping[str, Any]) -> str:
    """Empty without one, as there: both ``proxy_ip`` and ``proxy_port`` are needed."""
    if not extra.get("proxy_ip") or not extra.get("proxy_port"):
        return ""
    return f"{extra['proxy_ip']}:{_port(extra, 'proxy_port')}"


def _port(config: Mapping[str, Any], name: str) -> int:
    """Numbers and texts of them: vLLM takes both in places."""
    said = config.get(name)
    port = int(said) if isinstance(said, (int, str)) and str(said).isdecimal() else 0
    if not 0 < port <= _LAST_PORT:
        raise BadConfig(name, f"a port from 1 to {_LAST_PORT}", said)
    return port
