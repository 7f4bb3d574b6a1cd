"""MooncakeLayerwiseConnector of vllm-ascend: decode first, and each layer is sent as soon as it is computed.

Modelled on vllm-ascend (August 2026), kv_p2p/mooncake_layerwise_connector.py. Decode allocates its blocks
and reports them to the metaserver (the proxy), which sends prefill what decode reported. Three things
differ. What arrives is kept until all choices of the request have taken it, so that there can be several.
Decode hears when the metaserver, or prefill, failed (there it waits). And prefill's answer waits until
everything is sent.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pdtest.embedded.channel import RemoteError
from pdtest.embedded.connectors import params as read
from pdtest.embedded.connectors.arrivals import Arrivals, NotArrived, NotTaken
from pdtest.embedded.connectors.background import Background
from pdtest.embedded.connectors.connector import Handover, Host, LoadFailed
from pdtest.embedded.connectors.http import HttpCalls, HttpFailed
from pdtest.embedded.connectors.options import extra_config, seconds
from pdtest.embedded.connectors.peers import Address, Unreachable
from pdtest.embedded.connectors.pieces import PieceExchange
from pdtest.embedded.engine.sequence import Sequence as EngineSequence

_log = logging.getLogger(__name__)

_WAIT_S = 120.0
_HANDSHAKE_S = 5.0
_BUFFER_BYTES = 256 << 20
#: How long after prefill's answer its KV may come.
_LATER_S = 5.0
_TROUBLE = (OSError, RemoteError, Unreachable, ValueError)


@dataclass(kw_only=True)
class _Expected:
    """Decode: a prompt, and all choices that want it. ``name``: what the metaserver calls it."""

    name: str
    takers: set[str] = field(default_factory=set)
    blocks: Sequence[int] = ()
    cached: int = 0
    report: asyncio.Task[None] | None = None


@dataclass(frozen=True, kw_only=True)
class _Target:
    """Prefill: where a sequence's KV is to go. ``sent``: blocks that are on their way, by layer."""

    name: str
    address: Address
    blocks: Sequence[int]
    sent: dict[int, int] = field(default_factory=dict)
    first: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)


class MooncakeLayerwiseConnector:
    """Both sides. kv_connector_extra_config: ``wait_timeout``, seconds that decode waits (120)."""

    def __init__(self, config: Mapping[str, Any], host: Host) -> None:
        extra = extra_config(config)
        self._host = host
        self._wait_s = seconds(extra, "wait_timeout", _WAIT_S)
        self._http = HttpCalls(timeout_s=self._wait_s)
        self._arrivals = Arrivals(host, limit_bytes=_BUFFER_BYTES, keep_s=self._wait_s)
        self._exchange = PieceExchange(
            host,
            self._arrivals,
            mode="layerwise",
            handshake_s=seconds(extra, "handshake_timeout", _HANDSHAKE_S),
            wanted=self._wanted,
        )
        self._background = Background()
        #: Decode: by request and prompt, and by the name of it.
        self._expected: dict[tuple[str, tuple[int, ...]], _Expected] = {}
        self._by_name: dict[str, _Expected] = {}
        #: Prefill: by sequence.
        self._targets: dict[str, _Target] = {}

    async def start(self) -> None:
        """Listen, one port per tensor-parallel rank."""
        await self._exchange.start(self._host.side_ports, {"failed": self._failed})

    async def close(self) -> None:
        """Stop all of it."""
        await self._background.close()
        await self._exchange.close()
        self._arrivals.close()

    def queued(self, sequence: EngineSequence) -> None:
        """Decode: all choices of a prompt expect the same."""
        if (sequence.kv_transfer_params or {}).get("do_remote_prefill") is True:
            self._expect(sequence)

    async def match(self, sequence: EngineSequence, cached: int) -> int:
        """Decode: all prompt tokens that are not cached."""
        params = sequence.kv_transfer_params
        if read.flag(params, "do_remote_decode"):
            self._target(sequence)
        if params is None or not read.flag(params, "do_remote_prefill"):
            return 0
        read.text(params, "metaserver")
        return max(len(sequence.prompt) - cached, 0)

    async def load(self, sequence: EngineSequence, cached: int, promised: int) -> None:
        """Report the blocks, if no other choice has, and wait until all layers of them have come."""
        if not promised:
            return
        expected = self._expect(sequence)
        if expected.report is None:
            expected.blocks, expected.cached = tuple(sequence.blocks), cached
            expected.report = self._background.start(self._report(sequence, expected))
        size = self._host.block_size
        first, end = cached // size, -(-(cached + promised) // size)
        if cached < expected.cached:
            raise LoadFailed(
                f"KV of {expected.name}: {expected.cached} tokens were reported as cached, here are {cached}"
            )
        try:
            await self._arrivals.wait(expected.name, first, end, timeout_s=self._wait_s)
            self._arrivals.take(expected.name, sequence.blocks, first, end)
        except (NotArrived, ValueError) as problem:
            raise LoadFailed(f"KV of {expected.name}: {problem}") from problem

    def layer_computed(self, sequence: EngineSequence, layer: int, start: int, end: int) -> None:  # noqa: ARG002
        """Prefill: send the blocks that are complete, those that were cached here included."""
        params = sequence.kv_transfer_params
        if params is None or params.get("do_remote_decode") is not True:
            return
        target = self._target(sequence)
        size = self._host.block_size
        first = target.sent.get(layer, target.first)
        last = -(-end // size) if end >= len(sequence.prompt) else end // size
        if last <= first:
            return
        target.sent[layer] = last
        copied = self._exchange.copy(sequence.blocks[first:last], layer)
        task = self._background.start(self._send(target, copied, layer=layer, first=first, last=last))
        target.tasks.add(task)
        task.add_done_callback(target.tasks.discard)

    def finished(self, sequence: EngineSequence) -> Handover:
        """Nothing is held and there are no parameters. Prefill: decode hears if it did not get that far."""
        self._settle(sequence)
        target = self._targets.pop(sequence.id, None)
        if target is None:
            return Handover()
        blocks = -(-len(sequence.prompt) // self._host.block_size)
        complete = all(target.sent.get(layer) == blocks for layer in range(self._host.config.layers))
        if not complete and blocks > target.first:
            reason = f"prefill ended with {sequence.finish} before the prompt was computed"
            self._background.start(self._tell(target, reason))
        if not target.tasks:
            return Handover()
        return Handover(answer_after=self._background.when_done(target.tasks))

    # Decode.

    def _expect(self, sequence: EngineSequence) -> _Expected:
        key = (sequence.request_id, sequence.prompt)
        expected = self._expected.get(key)
        if expected is None:
            expected = self._expected[key] = _Expected(name=_name(sequence))
            self._by_name[expected.name] = expected
        expected.takers.add(sequence.id)
        self._arrivals.claim(expected.name, sequence.id)
        return expected

    def _settle(self, sequence: EngineSequence) -> None:
        expected = self._expected.get((sequence.request_id, sequence.prompt))
        if expected is None or sequence.id not in expected.takers:
            return
        expected.takers.discard(sequence.id)
        self._arrivals.done(expected.name, sequence.id)
        if not expected.takers:
            del self._expected[sequence.request_id, sequence.prompt]
            del self._by_name[expected.name]
            if expected.report is not None:
                expected.report.cancel()

    async def _report(self, sequence: EngineSequence, expected: _Expected) -> None:
        """The metaserver answers when prefill has."""
        url = read.text(sequence.kv_transfer_params or {}, "metaserver")
        try:
            await self._http.post(
                url,
                {
                    "token_ids": [],
                    "request_id": expected.name,
                    "do_remote_prefill": False,
                    "do_remote_decode": True,
                    "remote_block_ids": [list(expected.blocks)],
                    "remote_block_size": [self._host.block_size],
                    "remote_engine_id": self._host.engine_id,
                    "remote_host": self._host.address,
                    "remote_port": self._host.announced_port,
                    "remote_tp_size": len(self._host.memories),
                    "remote_pcp_size": 1,
                    "remote_dcp_size": 1,
                    "remote_cached_tokens": expected.cached,
                },
            )
        except HttpFailed as error:
            self._arrivals.fail(expected.name, f"metaserver: {error}")
        else:
            await asyncio.sleep(_LATER_S)
            self._arrivals.fail(expected.name, "prefill answered, but not all of it came")

    def _wanted(self, piece: Mapping[str, Any]) -> bool:
        expected = self._by_name.get(piece["request_id"])
        if expected is None:
            return False
        first = piece["first_block"]
        reported = list(expected.blocks[first : first + piece["blocks"]])
        if piece["block_ids"] != reported:
            raise NotTaken(f"{expected.name} reported blocks {reported}, not {piece['block_ids']}")
        return True

    async def _failed(self, said: Mapping[str, Any]) -> None:
        self._arrivals.fail(said["request_id"], said["reason"])

    # Prefill.

    def _target(self, sequence: EngineSequence) -> _Target:
        """Where it goes, out of what decode reported. Raises BadParams."""
        target = self._targets.get(sequence.id)
        if target is None:
            params = sequence.kv_transfer_params or {}
            size = self._host.block_size
            if params.get("remote_block_size", size) not in (size, [size]):
                raise read.BadParams("remote_block_size", f"{size}, as here", params["remote_block_size"])
            target = self._targets[sequence.id] = _Target(
                name=read.text(params, "request_id"),
                address=Address(
                    host=read.text(params, "remote_host"),
                    port=read.port(params, "remote_port"),
                    engine_id=read.text(params, "remote_engine_id"),
                    ranks=read.count(params, "remote_tp_size", least=1)
                    if "remote_tp_size" in params
                    else None,
                ),
                blocks=read.block_ids(params, "remote_block_ids"),
                first=read.count(params, "remote_cached_tokens") // size,
            )
        return target

    async def _send(
        self, target: _Target, copied: Sequence[bytes], *, layer: int, first: int, last: int
    ) -> None:
        try:
            await self._exchange.send(
                target.address,
                copied,
                request_id=target.name,
                layer=layer,
                first_block=first,
                blocks=last - first,
                block_ids=list(target.blocks[first:last]),
            )
        except _TROUBLE as problem:
            _log.warning("layer %s of %s did not get to %s: %s", layer, target.name, target.address, problem)
            await self._tell(target, f"prefill could not send layer {layer}: {problem}")

    async def _tell(self, target: _Target, reason: str) -> None:
        try:
            async with asyncio.timeout(_HANDSHAKE_S):
                peer = await self._exchange.peers.reach(target.address)
                await peer.channels[0].call("failed", request_id=target.name, reason=reason)
        except _TROUBLE as problem:
            _log.warning("%s was not told that %s failed: %s", target.address, target.name, problem)


def _name(sequence: EngineSequence) -> str:
    """How proxies know a request: chats have no number at the end, completions that of the prompt.

    The engine's own id has more in it; vllm-ascend cuts that off, too (get_external_request_id).
    """
    if sequence.id.startswith("chatcmpl-"):
        return f"chatcmpl-{sequence.request_id}"
    return f"cmpl-{sequence.request_id}-{sequence.choice}"
