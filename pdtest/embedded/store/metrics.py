"""The store's metrics. Names with the meaning they have in memcache's meta service, where it has them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from pdtest.embedded.store.pool import Pool

#: What is counted; `memcache_` before and `_total` behind make the metric's name. As in memcache, an object
#: that is there already is an alloc failure, and what was not found is no failure.
COUNTED = {
    "alloc_requests": "Places asked for, one per object or layer",
    "alloc_successes": "Places given",
    "alloc_failures": "Places refused: there already, or no room",
    "get_requests": "Objects or layers asked for",
    "get_successes": "Objects or layers delivered with the right checksum",
    "get_failures": "Objects or layers found that could not be delivered whole",
    "get_not_found": "Objects or layers asked for that were not there",
    "exist_key_requests": "Keys looked up",
    "exist_key_successes": "Keys looked up that were there",
    "exist_key_not_found": "Keys looked up that were not there",
    "remove_requests": "Objects to remove",
    "remove_successes": "Objects removed",
    "remove_not_found": "Objects to remove that were not there",
    "mount_requests": "Clients that registered, each with a segment",
    "mount_successes": "Segments taken into the pool",
    "mount_failures": "Segments that could not be reached",
    "unmount_requests": "Clients that said goodbye",
    "puts": "Objects completed",
    "puts_called_off": "Puts that did not complete: writer gone, too slow, or no room",
    "hits": "Gets that delivered",
    "misses": "Gets that did not, for any reason",
    "checksum_failures": "Gets whose bytes were not those put",
    "evict_operations": "Objects evicted",
    "clients_lost": "Clients that went without a goodbye",
    "objects_lost": "Objects lost with the client whose memory they were in",
}


class StoreMetrics(Collector):
    """Counts, and reads the gauges off the pool when scraped."""

    def __init__(self, pool: Pool, *, clients: Callable[[], int]) -> None:
        self.counts: Counter[str] = Counter()
        self._pool = pool
        self._clients = clients

    def count(self, what: str, by: int = 1) -> None:
        """One of `COUNTED`. Raises KeyError for anything else."""
        COUNTED[what]
        self.counts[what] += by

    def collect(self) -> Iterator[Metric]:
        """All of them, as prometheus_client wants it."""
        for name, text in COUNTED.items():
            yield CounterMetricFamily(f"memcache_{name}", text, value=self.counts[name])
        capacity = GaugeMetricFamily(
            "memcache_segment_capacity_bytes", "Bytes of a segment", labels=["segment"]
        )
        taken = GaugeMetricFamily("memcache_segment_allocated_bytes", "Bytes in use", labels=["segment"])
        for name, space in self._pool.segments.items():
            capacity.add_metric([name], space.capacity)
            taken.add_metric([name], space.used)
        yield from (capacity, taken)
        yield self._by_medium("memcache_total_capacity_bytes", "Bytes of all segments", self._pool.capacity)
        yield self._by_medium("memcache_allocated_bytes", "Bytes in use", self._pool.used)
        complete = sum(one.complete for one in self._pool.objects.values())
        yield GaugeMetricFamily("memcache_stored_keys", "Complete objects", value=complete)
        yield GaugeMetricFamily("memcache_clients", "Registered clients", value=self._clients())

    @staticmethod
    def _by_medium(name: str, text: str, value: float) -> Metric:
        family = GaugeMetricFamily(name, text, labels=["medium"])
        family.add_metric(["dram"], value)
        return family
