"""What connectors count, under the names that vLLM's and vllm-ascend's have."""

from __future__ import annotations

from collections.abc import Mapping
from weakref import WeakKeyDictionary

from prometheus_client import CollectorRegistry, Counter, Histogram

_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 5.0)
_BYTES = tuple(float(2 ** (10 + power)) for power in range(1, 25, 2))
_DESCRIPTORS = (10, 20, 30, 50, 75, 100, 200, 400, 1000, 2000, 4000, 10000, 20000, 50000)

#: Data-parallel ranks of one process share a registry, which takes each name once.
_KNOWN: WeakKeyDictionary[CollectorRegistry, dict[str, Counter | Histogram]] = WeakKeyDictionary()


class Instruments:
    """One data-parallel rank's counters and histograms in a registry."""

    def __init__(self, registry: CollectorRegistry, labels: Mapping[str, str]) -> None:
        self._registry = registry
        self._labels = labels

    def counter(self, name: str, meaning: str) -> Counter:
        """A counter of this rank, 0 until it is raised."""
        known = _KNOWN.setdefault(self._registry, {})
        if name not in known:
            known[name] = Counter(name, meaning, tuple(self._labels), registry=self._registry)
        child = known[name].labels(**self._labels)
        assert isinstance(child, Counter)  # noqa: S101 - each name is of one kind
        return child

    def histogram(self, name: str, meaning: str, buckets: tuple[float, ...]) -> Histogram:
        """A histogram of this rank."""
        known = _KNOWN.setdefault(self._registry, {})
        if name not in known:
            known[name] = Histogram(
                name, meaning, tuple(self._labels), buckets=buckets, registry=self._registry
            )
        child = known[name].labels(**self._labels)
        assert isinstance(child, Histogram)  # noqa: S101 - each name is of one kind
        return child


class TransferMetrics:
    """Transfers between pairs of ranks that went well, took their time, or failed.

    Args:
        instruments: where they go.
        prefix: ``vllm:nixl`` or ``vllm:mooncake``.
    """

    def __init__(self, instruments: Instruments, prefix: str) -> None:
        self._seconds = instruments.histogram(
            f"{prefix}_xfer_time_seconds", "Seconds that transfers took.", _SECONDS[1:]
        )
        self._bytes = instruments.histogram(f"{prefix}_bytes_transferred", "Bytes per transfer.", _BYTES)
        self._descriptors = instruments.histogram(
            f"{prefix}_num_descriptors", "Descriptors per transfer.", _DESCRIPTORS
        )
        self._failed = instruments.counter(f"{prefix}_num_failed_transfers", "Transfers that failed.")
        self._expired = instruments.counter(
            f"{prefix}_num_kv_expired_reqs", "Requests whose KV expired; counted on prefill."
        )

    def transferred(self, *, seconds: float, size: int, descriptors: int) -> None:
        """One transfer between one rank here and one rank there went well."""
        self._seconds.observe(seconds)
        self._bytes.observe(size)
        self._descriptors.observe(descriptors)

    def transfer_failed(self) -> None:
        """A transfer, or the handshake before it, failed."""
        self._failed.inc()

    def notification_failed(self) -> None:
        """The peer could not be told that a transfer is over."""

    def lease_expired(self) -> None:
        """Blocks were given up that nobody had fetched."""
        self._expired.inc()

    def notified_late(self) -> None:
        """Somebody read blocks that were not held any more."""


class NixlMetrics(TransferMetrics):
    """NIXL's, pull and push: vLLM 0.32, nixl/stats.py."""

    def __init__(self, instruments: Instruments) -> None:
        super().__init__(instruments, "vllm:nixl")
        self._post_seconds = instruments.histogram(
            "vllm:nixl_post_time_seconds", "Seconds that posting transfers took.", _SECONDS
        )
        self._failed_notifications = instruments.counter(
            "vllm:nixl_num_failed_notifications", "Notifications that failed."
        )
        self._late = instruments.counter(
            "vllm:nixl_num_notifications_after_expiry",
            "Notifications for requests that were not tracked any more; one per rank of the reader.",
        )

    def transferred(self, *, seconds: float, size: int, descriptors: int) -> None:
        """Posting takes no time here."""
        super().transferred(seconds=seconds, size=size, descriptors=descriptors)
        self._post_seconds.observe(0.0)

    def notification_failed(self) -> None:
        """Counted among the transfers, too, as by vLLM."""
        self._failed.inc()
        self._failed_notifications.inc()

    def notified_late(self) -> None:
        """One notification of one rank."""
        self._late.inc()


class MooncakeMetrics(TransferMetrics):
    """Mooncake's, as of the versions after vLLM 0.32: mooncake/stats.py, MooncakePromMetrics."""

    def __init__(self, instruments: Instruments) -> None:
        super().__init__(instruments, "vllm:mooncake")
        self._failed_receipts = instruments.counter(
            "vllm:mooncake_num_failed_recvs", "Requests whose KV did not come; counted on decode."
        )

    def receipt_failed(self) -> None:
        """What was waited for did not come."""
        self._failed_receipts.inc()


class StoreMetrics:
    """AscendStoreConnector's: vllm-ascend (2026), AscendStorePromMetrics."""

    _BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)

    def __init__(self, instruments: Instruments) -> None:
        self._seconds = instruments.histogram(
            "vllm:ascend_store_load_get_duration_seconds", "Seconds that gets took.", self._BUCKETS
        )
        self._keys = instruments.counter(
            "vllm:ascend_store_load_get_keys", "Keys that were passed to gets that came back."
        )

    def got(self, *, seconds: float, keys: int, hits: int) -> None:  # noqa: ARG002
        """A batch of gets came back. Misses count as well."""
        self._seconds.observe(seconds)
        self._keys.inc(keys)


class LMCacheMetrics:
    """LMCache's: 0.5.6, observability.py."""

    def __init__(self, instruments: Instruments, chunk_tokens: int) -> None:
        self._chunk_tokens = chunk_tokens
        self._requests = instruments.counter("lmcache:num_retrieve_requests", "Retrieve requests.")
        self._hits = instruments.counter("lmcache:num_hit_tokens", "Tokens whose KV was retrieved.")

    def got(self, *, seconds: float, keys: int, hits: int) -> None:  # noqa: ARG002
        """A retrieve came back."""
        self._requests.inc()
        self._hits.inc(hits * self._chunk_tokens)
