"""All data-parallel ranks of an engine process."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry

from pdtest.embedded.engine.core import Core
from pdtest.embedded.engine.metrics import EngineCollector
from pdtest.embedded.engine.routing import Router
from pdtest.embedded.engine.settings import Settings
from pdtest.embedded.model.config import ModelConfig
from pdtest.embedded.model.weights import Weights


class Cores:
    """The ranks share weights, metrics and the event loop; each has its own KV, queue and connector."""

    def __init__(self, settings: Settings, config: ModelConfig) -> None:
        self.config = config
        self.registry = CollectorRegistry()
        weights = Weights.random(config)
        self._cores = tuple(
            Core(settings=settings, config=config, weights=weights, registry=self.registry, data_rank=rank)
            for rank in range(settings.data_ranks)
        )
        self._router = Router(settings.data_policy)
        self.registry.register(EngineCollector(settings, [core.statistics for core in self._cores]))

    def __iter__(self) -> Iterator[Core]:
        return iter(self._cores)

    def choose(self, data_rank: int | None) -> Core:
        """The rank that is asked for, else the one that the policy says; what waits there counts too.

        Raises ValueError when there is no such rank.
        """
        if data_rank is None:
            return self._cores[self._router.choose(self._cores)]
        if not 0 <= data_rank < len(self._cores):
            raise ValueError(f"data_parallel_rank {data_rank} is out of range [0, {len(self._cores)}).")
        return self._cores[data_rank]

    async def start(self) -> None:
        """Start all ranks. Raises OSError when a connector cannot listen."""
        for core in self._cores:
            await core.start()

    async def close(self) -> None:
        """Stop all ranks."""
        for core in self._cores:
            await core.close()

    def abort_all(self) -> None:
        """Give up all sequences."""
        for core in self._cores:
            core.abort_all()
