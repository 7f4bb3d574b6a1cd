"""MultiConnector: several connectors at once. The first that has tokens loads them.

Modelled on vLLM 0.32, kv_connector/v1/multi_connector.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pdtest.embedded.connectors.connector import Connector, Handover, Host, LoadFailed
from pdtest.embedded.connectors.options import BadConfig, extra_config
from pdtest.embedded.connectors.registry import connector_for
from pdtest.embedded.engine.sequence import Sequence as EngineSequence

#: Makes a child.
Maker = Callable[[Mapping[str, Any], Host], Connector | None]


class KeyClash(RuntimeError):
    """Two children want to hand over a parameter of the same name."""

    def __init__(self, names: set[str]) -> None:
        super().__init__(f"key clash in kv_transfer_params from multiple connectors: {sorted(names)}")


@dataclass
class _HostOfChild:
    """The engine, as one child sees it: what it releases may still be held by another one."""

    engine: Host
    released: Callable[[str], None] = field(repr=False)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def release(self, sequence_id: str) -> None:
        self.released(sequence_id)


class MultiConnector:
    """kv_connector_extra_config.connectors: the children's configurations, in the order they are asked."""

    def __init__(self, config: Mapping[str, Any], host: Host, make: Maker = connector_for) -> None:
        described = extra_config(config).get("connectors")
        if not isinstance(described, list) or not described:
            raise BadConfig("kv_connector_extra_config.connectors", "a list of configurations", described)
        self._host = host
        self._children: list[Connector] = []
        for index, one in enumerate(described):
            child = make(_inherited(config, one, index), _HostOfChild(host, self._released))
            assert child is not None  # noqa: S101 - only for a configuration that is None
            self._children.append(child)
        #: Who loads a sequence, and how many children hold its blocks.
        self._loaders: dict[str, Connector] = {}
        self._holders: dict[str, int] = {}

    async def start(self) -> None:
        """Start all children; when one cannot, close those that could."""
        started: list[Connector] = []
        try:
            for child in self._children:
                await child.start()
                started.append(child)
        except BaseException:
            for child in started:
                await child.close()
            raise

    async def close(self) -> None:
        """Close all children."""
        for child in self._children:
            await child.close()

    def queued(self, sequence: EngineSequence) -> None:
        """All children hear of it."""
        for child in self._children:
            child.queued(sequence)

    async def match(self, sequence: EngineSequence, cached: int) -> int:
        """What the first child with any tokens promises. All are asked, as in vLLM."""
        self._loaders.pop(sequence.id, None)
        promised = 0
        for child in self._children:
            tokens = await child.match(sequence, cached)
            if tokens and not promised:
                promised = tokens
                self._loaders[sequence.id] = child
        return promised

    async def load(self, sequence: EngineSequence, cached: int, promised: int) -> None:
        """The chosen child loads; the others hear that nothing is to be brought by them."""
        chosen = self._loaders.get(sequence.id)
        for child in self._children:
            if child is not chosen:
                await child.load(sequence, cached, 0)
        if chosen is not None:
            await chosen.load(sequence, cached, promised)
        elif promised:
            raise LoadFailed(f"none of the connectors promised KV for {sequence.id}")

    def layer_computed(self, sequence: EngineSequence, layer: int, start: int, end: int) -> None:
        """All children see what was computed."""
        for child in self._children:
            child.layer_computed(sequence, layer, start, end)

    def finished(self, sequence: EngineSequence) -> Handover:
        """All children's parameters, and blocks held until each that holds them has released them."""
        self._loaders.pop(sequence.id, None)
        handovers = [child.finished(sequence) for child in self._children]
        holders = sum(handover.hold for handover in handovers)
        if holders:
            self._holders[sequence.id] = holders
        waits = [handover.answer_after for handover in handovers if handover.answer_after is not None]
        return Handover(
            params=_merged(handovers),
            hold=bool(holders),
            answer_after=asyncio.ensure_future(_all_of(waits)) if waits else None,
        )

    def _released(self, sequence_id: str) -> None:
        left = self._holders.pop(sequence_id, 1) - 1
        if left:
            self._holders[sequence_id] = left
        else:
            self._host.release(sequence_id)


def _inherited(config: Mapping[str, Any], child: object, index: int) -> dict[str, Any]:
    """A child that does not say its role has that of the whole."""
    if not isinstance(child, Mapping):
        raise BadConfig(f"kv_connector_extra_config.connectors[{index}]", "an object", child)
    return {"kv_role": config.get("kv_role"), **child}


async def _all_of(waits: list[Awaitable[None]]) -> None:
    for wait in waits:
        await wait


def _merged(handovers: list[Handover]) -> Mapping[str, Any] | None:
    merged: dict[str, Any] | None = None
    for handover in handovers:
        if handover.params is not None:
            if clash := set(merged or ()) & set(handover.params):
                raise KeyClash(clash)
            merged = {**(merged or {}), **handover.params}
    return merged
