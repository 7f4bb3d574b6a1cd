"""Readings of data-parallel ranks from an engine's /metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pdtest.client.endpoint import Endpoint
from pdtest.client.metrics import Metrics
from pdtest.telemetry.capacity import kv_tokens_by_rank
from pdtest.telemetry.source import RankReading

USAGE = "vllm:kv_cache_usage_perc"
RUNNING = "vllm:num_requests_running"
WAITING = "vllm:num_requests_waiting"


@dataclass
class PrometheusSource:
    """Asks an engine. The label ``engine`` is the data-parallel rank (vLLM 0.32)."""

    endpoint: Endpoint
    silent_when_idle: bool = False
    _capacity: Mapping[str, int] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        """The URL that is asked."""
        return f"{self.endpoint.url.rstrip('/')}/metrics"

    async def read(self) -> Sequence[RankReading]:
        """One reading of each rank. Raises RequestFailed errors, and LookupError without the metric."""
        metrics = await self.endpoint.metrics()
        self._capacity = self._capacity or kv_tokens_by_rank(metrics)
        usage = metrics.by(USAGE, "engine")
        if not usage:
            raise LookupError(f"{self.name} does not export {USAGE}{{engine=..}}")
        return [self._reading(metrics, rank, share) for rank, share in usage.items()]

    def _reading(self, metrics: Metrics, rank: str, share: float) -> RankReading:
        capacity = self._capacity.get(rank)
        return RankReading(
            rank=rank,
            usage=share,
            tokens=None if capacity is None else share * capacity,
            running=_count(metrics, RUNNING, rank),
            waiting=_count(metrics, WAITING, rank),
        )


def _count(metrics: Metrics, name: str, rank: str) -> int | None:
    requests = metrics.total(name, engine=rank)
    return None if requests is None else int(requests)
