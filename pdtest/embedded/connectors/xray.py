"""What prefill publishes and what decode receives, as digests in a file: the X-ray.

Wraps any connector. A record is written when a prompt's KV has been computed (`published`), and when KV has
been loaded, before anything is computed with it (`received`: prompt tokens from 0 on, cached ones included).
An engine whose role is kv_consumer publishes nothing, a kv_producer receives nothing.

A record is a line of JSON; docs/xray.md says what is in it. There is one for each tensor-parallel rank.
"""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pdtest.embedded.connectors.connector import Connector, Handover, Host
from pdtest.embedded.connectors.digests import digests
from pdtest.embedded.engine.sequence import Sequence as EngineSequence
from pdtest.embedded.model.memory import KVMemory

_FORM: Final = 1


class XrayConnector:
    """``inner``, with records of what goes in and out of it under ``directory``."""

    def __init__(self, inner: Connector, config: Mapping[str, Any], host: Host, directory: Path) -> None:
        role = config.get("kv_role")
        self._inner = inner
        self._host = host
        self._publishes, self._receives = role != "kv_consumer", role != "kv_producer"
        # A file for each process and rank: lines of several writers would mix.
        self._file = directory / f"{os.getpid()}-{host.data_rank}.jsonl"

    async def start(self) -> None:
        """Start it. Raises OSError, also when the directory cannot be made."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.touch()
        await self._inner.start()

    async def close(self) -> None:
        """Close it."""
        await self._inner.close()

    def queued(self, sequence: EngineSequence) -> None:
        """Handed on."""
        self._inner.queued(sequence)

    async def match(self, sequence: EngineSequence, cached: int) -> int:
        """Handed on. What is all cached will not be loaded: that is looked at now."""
        promised = await self._inner.match(sequence, cached)
        if cached and not promised and self._receives:
            self._record("received", sequence, tokens=cached)
        return promised

    async def load(self, sequence: EngineSequence, cached: int, promised: int) -> None:
        """Handed on, and looked at once it is through."""
        await self._inner.load(sequence, cached, promised)
        if promised and self._receives:
            self._record("received", sequence, tokens=cached + promised)

    def layer_computed(self, sequence: EngineSequence, layer: int, start: int, end: int) -> None:
        """Handed on; with the last layer of the last token the prompt is complete."""
        complete = layer == self._host.config.layers - 1 and end >= len(sequence.prompt)
        if complete and self._publishes:
            self._record("published", sequence, tokens=len(sequence.prompt))
        self._inner.layer_computed(sequence, layer, start, end)

    def finished(self, sequence: EngineSequence) -> Handover:
        """Handed on."""
        return self._inner.finished(sequence)

    def _record(self, side: str, sequence: EngineSequence, *, tokens: int) -> None:
        blocks = sequence.blocks[: -(-tokens // self._host.block_size)]
        lines = []
        for rank, memory in enumerate(self._host.memories):
            began = time.perf_counter()
            record = {
                "form": _FORM,
                "side": side,
                "engine": self._host.engine_id,
                "rank": rank,
                "request": sequence.request_id,
                "sequence": sequence.id,
                "prompt": sequence.prompt[:tokens],
                "cached": sequence.cached,
                "block_size": self._host.block_size,
                "blocks": blocks,
                "first_layer": 0,
                "layers": self._host.config.layers,
                "first_head": memory.heads.first,
                "heads": memory.heads.count,
                **_digested(memory, blocks, tokens),
            }
            lines.append(json.dumps(record | {"at": time.time(), "took_s": time.perf_counter() - began}))
        with self._file.open("a", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in lines))


def _digested(memory: KVMemory, blocks: list[int], tokens: int) -> dict[str, str]:
    """(layers, 2, tokens, heads), little-endian, in base64."""
    kv = memory.kv[:, :, blocks]
    layers, halves, _, _, heads, size = kv.shape
    seen = digests(kv.reshape(layers, halves, -1, heads, size)[:, :, :tokens])
    return {
        "exact": base64.b64encode(seen.exact.astype("<u8").tobytes()).decode(),
        "projection": base64.b64encode(seen.projection.astype("<f4").tobytes()).decode(),
        "peak": base64.b64encode(seen.peak.astype("<f4").tobytes()).decode(),
    }
