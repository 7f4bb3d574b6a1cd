"""AscendStoreConnector: whole blocks of KV by their content, in a pool that all engines share.

Modelled on vllm-ascend (August 2026), kv_pool/ascend_store/{pool_scheduler,pool_worker}.py. Two things
differ. A block is one object with all heads, not one per rank, so that engines of unequal tensor
parallelism share them. And an answer waits until its blocks are saved: on Ascend nothing does, and a decode
request that follows at once may find less than there will be.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from pdtest.embedded.connectors.background import Background
from pdtest.embedded.connectors.connector import Handover, Host, LoadFailed
from pdtest.embedded.connectors.options import BadConfig, extra_config, switch, word
from pdtest.embedded.connectors.transfer_metrics import Instruments, StoreMetrics
from pdtest.embedded.engine.sequence import Finish
from pdtest.embedded.engine.sequence import Sequence as EngineSequence
from pdtest.embedded.store.client import StoreClient
from pdtest.embedded.store.errors import StoreError

_log = logging.getLogger(__name__)

#: What an engine lends to the pool.
_SEGMENT_BYTES = 1 << 20


class Pool(Protocol):
    """What is needed of a StoreClient."""

    async def start(self, patience_s: float = ...) -> None:
        """Join. Raises OSError, StoreError."""
        ...

    async def close(self) -> None:
        """Leave."""
        ...

    async def put_many(self, items: Mapping[str, bytes]) -> frozenset[str]:
        """Store what is not there yet. Raises StoreError."""
        ...

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """None for a miss. Raises StoreError."""
        ...

    async def exists_many(self, keys: Sequence[str]) -> list[bool]:
        """What is there. Raises StoreError."""
        ...


class Gets(Protocol):
    """Where gets are counted."""

    def got(self, *, seconds: float, keys: int, hits: int) -> None:
        """A batch of gets came back; ``hits`` of ``keys`` were there."""
        ...


#: Makes the pool's client out of its address and named settings.
Joins = Callable[..., Pool]


class AscendStoreConnector:
    """Saves what is computed, looks up what is asked for.

    kv_connector_extra_config: ``store``, host:port of the pool's meta process; ``segment_bytes`` lent to the
    pool (1 MiB); ``consumer_is_to_load`` and ``consumer_is_to_put``, without which an engine of role
    kv_consumer does neither, as on Ascend.
    """

    def __init__(self, config: Mapping[str, Any], host: Host, join: Joins = StoreClient) -> None:
        extra = extra_config(config)
        self._loads, self._saves = self._duties(config, extra)
        self._host = host
        self._metrics = self._counters()
        self._pool = join(
            self._address(extra),
            segment_bytes=_segment_bytes(extra) if self._saves else 0,
            host=host.address,
        )
        self._root = _root(host)
        #: Keys of the prompts of sequences under way, and what of them is being saved.
        self._keys: dict[str, list[str]] = {}
        self._saving: defaultdict[str, set[asyncio.Task[None]]] = defaultdict(set)
        self._saved: dict[str, int] = {}
        self._on_the_way: dict[str, asyncio.Task[None]] = {}
        self._background = Background()

    def _duties(self, config: Mapping[str, Any], extra: Mapping[str, Any]) -> tuple[bool, bool]:
        """Whether it loads, and whether it saves."""
        is_consumer = config.get("kv_role") == "kv_consumer"
        return (
            not is_consumer or switch(extra, "consumer_is_to_load"),
            not is_consumer or switch(extra, "consumer_is_to_put"),
        )

    def _address(self, extra: Mapping[str, Any]) -> str:
        return word(extra, "store")

    def _counters(self) -> Gets:
        return StoreMetrics(Instruments(self._host.registry, self._host.labels))

    async def start(self) -> None:
        """Join the pool. Raises OSError."""
        try:
            await self._pool.start()
        except StoreError as error:
            raise ConnectionError(str(error)) from error

    async def close(self) -> None:
        """Leave the pool."""
        await self._background.close()
        await self._pool.close()

    def queued(self, sequence: EngineSequence) -> None:
        """Nobody holds anything for it."""

    async def match(self, sequence: EngineSequence, cached: int) -> int:
        """The longest prefix of whole blocks that the pool has, beyond what is cached.

        The pool is asked for the prompt from its beginning, as on Ascend. When the prefix is the whole
        prompt, its last token is not promised: the block comes, but the token is computed, for its logits.
        """
        size = self._host.block_size
        keys = self._keys_of(sequence)
        if not self._loads or not keys:
            return 0
        try:
            there = await self._pool.exists_many(keys)
        except StoreError as error:
            _log.warning("%s is computed, the store was not asked: %s", sequence.id, error)
            return 0
        blocks = there.index(False) if False in there else len(there)
        self._saved[sequence.id] = max(blocks, self._saved.get(sequence.id, 0))
        return max(min(blocks * size, len(sequence.prompt) - 1) - cached, 0)

    async def load(self, sequence: EngineSequence, cached: int, promised: int) -> None:
        """Get the blocks. Those up to the first that is missing or damaged are in place when it fails."""
        if not promised:
            return
        size = self._host.block_size
        first, end = cached // size, -(-(cached + promised) // size)
        keys = self._keys_of(sequence)[first:end]
        began = asyncio.get_running_loop().time()
        await asyncio.sleep(self._host.transfer_delay_s)
        try:
            contents = await self._pool.get_many(keys)
        except StoreError as error:
            raise LoadFailed(f"KV of {sequence.id} from the store: {error}") from error
        self._metrics.got(
            seconds=asyncio.get_running_loop().time() - began,
            keys=len(keys),
            hits=sum(content is not None for content in contents),
        )
        for arrived, content in enumerate(contents):
            try:
                self._write(sequence.blocks[first + arrived], content)
            except ValueError as error:
                self._saved[sequence.id] = first + arrived
                raise LoadFailed(
                    f"KV of {sequence.id} from the store: block {first + arrived} of {end}: {error}",
                    arrived=arrived * size,
                ) from error

    def layer_computed(self, sequence: EngineSequence, layer: int, start: int, end: int) -> None:  # noqa: ARG002
        """Whole blocks are saved once their last layer is there.

        Those that the pool had already are not. Cached ones are: the pool may have evicted them, and a
        prefix with a hole is worth nothing.
        """
        if not self._saves or layer != self._host.config.layers - 1:
            return
        first = self._saved.get(sequence.id, 0)
        last = min(end, len(sequence.prompt)) // self._host.block_size
        if last <= first:
            return
        self._saved[sequence.id] = last
        keys = self._keys_of(sequence)
        # Copied at once: the blocks may be taken away before the pool has them.
        items = {
            keys[block]: self._read(sequence.blocks[block])
            for block in range(first, last)
            if keys[block] not in self._on_the_way
        }
        if items:
            task = self._background.start(self._save(items))
            self._on_the_way.update(dict.fromkeys(items, task))
        # What another sequence is saving is waited for just so.
        self._saving[sequence.id] |= {
            self._on_the_way[key] for key in keys[first:last] if key in self._on_the_way
        }

    def finished(self, sequence: EngineSequence) -> Handover:
        """No parameters; the answer waits until everything is saved."""
        self._keys.pop(sequence.id, None)
        self._saved.pop(sequence.id, None)
        saving = self._saving.pop(sequence.id, None)
        if not saving or sequence.finish in {Finish.ABORT, Finish.ERROR}:
            return Handover()
        return Handover(answer_after=self._background.when_done(saving))

    async def _save(self, items: Mapping[str, bytes]) -> None:
        await asyncio.sleep(self._host.transfer_delay_s)
        try:
            await self._pool.put_many(items)
        except StoreError as error:
            _log.warning("KV of %s blocks is not in the store: %s", len(items), error)
        finally:
            for key in items:
                del self._on_the_way[key]

    def _keys_of(self, sequence: EngineSequence) -> list[str]:
        """A key per whole block of the prompt; each stands for all tokens up to the block's end."""
        keys = self._keys.get(sequence.id)
        if keys is None:
            size = self._host.block_size
            keys, chain = [], self._root
            for start in range(0, len(sequence.prompt) // size * size, size):
                tokens = np.asarray(sequence.prompt[start : start + size], np.int64)
                chain = hashlib.sha256(chain + tokens.tobytes()).digest()
                keys.append(f"{self._host.labels.get('model_name', '')}@{chain.hex()}")
            self._keys[sequence.id] = keys
        return keys

    def _read(self, block: int) -> bytes:
        """All heads of a block: (layers, 2, block_size, kv_heads, head_dim)."""
        return np.concatenate([memory.kv[:, :, block] for memory in self._host.memories], axis=3).tobytes()

    def _write(self, block: int, content: bytes | None) -> None:
        if content is None:
            raise ValueError("it is gone, or damaged")
        config = self._host.config
        shape = (config.layers, 2, 1, self._host.block_size, config.kv_heads, config.head_dim)
        whole = np.frombuffer(content, np.float32).reshape(shape)
        for memory in self._host.memories:
            part = whole[..., memory.heads.first : memory.heads.end, :]
            memory.write([block], memory.heads, part.tobytes())


def _root(host: Host) -> bytes:
    """What the keys of this model hang from.

    On Ascend the hashes depend on PYTHONHASHSEED, and members that do not agree on it find nothing of each
    other's; so it is here.
    """
    seed = os.environ.get("PYTHONHASHSEED", "")
    return hashlib.sha256(f"{host.config} {host.block_size} {seed}".encode()).digest()


def _segment_bytes(extra: Mapping[str, Any]) -> int:
    size = extra.get("segment_bytes", _SEGMENT_BYTES)
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise BadConfig("kv_connector_extra_config.segment_bytes", "a number of bytes", size)
    return size
