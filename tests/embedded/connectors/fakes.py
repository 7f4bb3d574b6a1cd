"""A double of the engine's side of the seam, with KV that is real and random."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry

from pdtest.embedded.engine.sequence import Finish, Sampling
from pdtest.embedded.engine.sequence import Sequence as EngineSequence
from pdtest.embedded.model.config import ModelConfig
from pdtest.embedded.model.memory import Array, KVMemory, heads_of_rank
from tests.ports import free_ports

CONFIG = ModelConfig(
    layers=3,
    hidden=16,
    heads=8,
    kv_heads=4,
    head_dim=4,
    intermediate=16,
    vocab_size=259,
    eos_id=0,
    max_positions=4096,
)
LABELS = {"model_name": "tiny", "engine": "0"}
_lives = itertools.count()


@dataclass(kw_only=True)
class FakeHost:
    """One data-parallel rank. ``released`` collects what the connector let go."""

    config: ModelConfig = CONFIG
    block_size: int = 4
    engine_id: str = field(default_factory=lambda: f"engine-{next(_lives)}")
    data_rank: int = 0
    memories: Sequence[KVMemory] = ()
    address: str = "127.0.0.1"
    http_port: int = 8000
    bootstrap_port: int = 0
    side_ports: Sequence[int] = ()
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    labels: Mapping[str, str] = field(default_factory=lambda: dict(LABELS))
    transfer_delay_s: float = 0.0
    released: list[str] = field(default_factory=list)

    @property
    def announced_port(self) -> int:
        return self.side_ports[0]

    def release(self, sequence_id: str) -> None:
        self.released.append(sequence_id)

    def kv(self, blocks: Sequence[int]) -> Array:
        """All heads' KV of ``blocks``: (layers, 2, len(blocks), block_size, kv_heads, head_dim)."""
        return np.concatenate([memory.kv[:, :, list(blocks)] for memory in self.memories], axis=4)

    def metric(self, name: str) -> float:
        """A sample's value; 0 when it does not exist."""
        return self.registry.get_sample_value(f"vllm:{name}", dict(self.labels)) or 0.0


def make_host(*, ranks: int = 1, blocks: int = 12, seed: int = 0, **values: Any) -> FakeHost:
    config: ModelConfig = values.get("config", CONFIG)
    block_size: int = values.get("block_size", 4)
    random = np.random.default_rng(seed)
    memories = []
    for rank in range(ranks):
        heads = heads_of_rank(config.kv_heads, ranks, rank)
        memory = KVMemory.empty(
            layers=config.layers,
            blocks=blocks,
            block_size=block_size,
            heads=heads,
            head_dim=config.head_dim,
        )
        memory.kv[...] = random.standard_normal(memory.kv.shape, dtype=np.float32)
        memories.append(memory)
    values.setdefault("side_ports", free_ports(ranks))
    return FakeHost(memories=memories, **values)


def make_sequence(  # noqa: PLR0913 - a sequence has many parts
    prompt: int | Sequence[int],
    *,
    request_id: str = "r",
    choice: int = 0,
    params: Mapping[str, Any] | None = None,
    blocks: Sequence[int] = (),
    computed: int = 0,
    finish: Finish | None = None,
) -> EngineSequence:
    tokens = tuple(range(prompt)) if isinstance(prompt, int) else tuple(prompt)
    return EngineSequence(
        id=f"cmpl-{request_id}-{choice}",
        request_id=request_id,
        prompt=tokens,
        sampling=Sampling(max_tokens=1),
        kv_transfer_params=params,
        blocks=list(blocks),
        computed=computed,
        output=[] if finish is None else [7],
        finish=finish,
    )


async def settled(seen: Callable[[], object], *, within_s: float = 5.0) -> None:
    """Wait until ``seen`` is true."""
    deadline = asyncio.get_running_loop().time() + within_s
    while not seen():
        assert asyncio.get_running_loop().time() < deadline, "it never came to be"
        await asyncio.sleep(0.005)
