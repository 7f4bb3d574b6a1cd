"""What a connector may know of a data-parallel rank, and the blocks it asked to hold."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from pdtest.embedded.engine.blocks import Blocks
from pdtest.embedded.engine.sequence import Sequence as EngineSequence
from pdtest.embedded.engine.settings import Settings
from pdtest.embedded.model.config import ModelConfig
from pdtest.embedded.model.memory import KVMemory, heads_of_rank

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry


class Rank:
    """A `connectors.connector.Host`. ``released`` is called when held blocks came free."""

    def __init__(
        self,
        *,
        settings: Settings,
        config: ModelConfig,
        registry: CollectorRegistry,
        data_rank: int,
        released: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._config = config
        self._registry = registry
        self._data_rank = data_rank
        self._engine_id = f"{os.urandom(16).hex()}_dp{data_rank}"
        self._memories = tuple(
            KVMemory.empty(
                layers=config.layers,
                blocks=settings.blocks,
                block_size=settings.block_size,
                heads=heads_of_rank(config.kv_heads, settings.tensor_ranks, rank),
                head_dim=config.head_dim,
            )
            for rank in range(settings.tensor_ranks)
        )
        self._released = released
        self.blocks = Blocks(settings.blocks)
        self._held: dict[str, list[EngineSequence]] = {}

    @property
    def config(self) -> ModelConfig:
        """The model's numbers."""
        return self._config

    @property
    def block_size(self) -> int:
        """Tokens per block."""
        return self._settings.block_size

    @property
    def engine_id(self) -> str:
        """Another one in each process life."""
        return self._engine_id

    @property
    def data_rank(self) -> int:
        """From 0."""
        return self._data_rank

    @property
    def memories(self) -> Sequence[KVMemory]:
        """By tensor-parallel rank."""
        return self._memories

    @property
    def address(self) -> str:
        """Where peers reach this process."""
        return self._settings.side_host

    @property
    def http_port(self) -> int:
        """The API's port."""
        return self._settings.port

    @property
    def side_ports(self) -> Sequence[int]:
        """One per tensor-parallel rank."""
        ranks = self._settings.tensor_ranks
        first = self._settings.side_port + self._data_rank * ranks
        return range(first, first + ranks)

    @property
    def announced_port(self) -> int:
        """The first of them as peers are told."""
        own, told = self._settings.side_port, self._settings.announced_port
        return self.side_ports[0] + (0 if told is None else told - own)

    @property
    def bootstrap_port(self) -> int:
        """Mooncake's."""
        return self._settings.bootstrap_port

    @property
    def registry(self) -> CollectorRegistry:
        """Shared by all ranks."""
        return self._registry

    @property
    def labels(self) -> Mapping[str, str]:
        """As on all metrics of this rank."""
        return {"model_name": self._settings.served_name, "engine": str(self._data_rank)}

    @property
    def transfer_delay_s(self) -> float:
        """Extra seconds per transfer."""
        return self._settings.transfer_time

    def release(self, sequence_id: str) -> None:
        """Free the blocks that a `Handover` held."""
        sequences = self._held.get(sequence_id)
        if not sequences:
            return
        self.blocks.release(sequences.pop(0).blocks)
        if not sequences:
            del self._held[sequence_id]
        self._released()

    def hold(self, sequence: EngineSequence) -> None:
        """Keep the blocks of a sequence that ended until `release`."""
        self._held.setdefault(sequence.id, []).append(sequence)

    @property
    def held_tokens(self) -> int:
        """Tokens in held blocks."""
        return sum(sequence.computed for held in self._held.values() for sequence in held)
