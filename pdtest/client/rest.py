"""Whether an engine has nothing left to do, by its own account."""

from __future__ import annotations

from typing import Final

from pdtest.client.endpoint import Endpoint
from pdtest.client.errors import RequestFailed
from pdtest.events.quiet import QuietSought

#: As vLLM 0.32 has them (v1/metrics/loggers.py). `kv_cache_usage_perc` is a share, 0 to 1, all the same.
KV_USAGE: Final = "vllm:kv_cache_usage_perc"
RUNNING: Final = "vllm:num_requests_running"
WAITING: Final = "vllm:num_requests_waiting"


async def look_at(member: str, endpoint: Endpoint, *, within_s: float, test: str = "") -> QuietSought:
    """One look; all but ``endpoint`` is noted. An engine that does not answer is not idle."""
    try:
        metrics = await endpoint.metrics(KV_USAGE, RUNNING, WAITING)
    except RequestFailed:
        metrics = None
    return QuietSought(
        member=member,
        test=test,
        answers=metrics is not None,
        # A gauge of the busiest data-parallel rank; requests of all ranks.
        kv_usage=metrics.gauge(KV_USAGE) if metrics else None,
        running=metrics.total(RUNNING) if metrics else None,
        waiting=metrics.total(WAITING) if metrics else None,
        within_s=within_s,
    )
