"""The counters of NIXL connectors, pull and push. Names, meaning and buckets: vLLM 0.32, nixl/stats.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from weakref import WeakKeyDictionary

from prometheus_client import CollectorRegistry, Counter, Histogram

_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 5.0)
_BYTES = tuple(float(2 ** (10 + power)) for power in range(1, 25, 2))
_DESCRIPTORS = (10, 20, 30, 50, 75, 100, 200, 400, 1000, 2000, 4000, 10000, 20000, 50000)


class TransferMetrics(Protocol):
    """What a connector has to say about its transfers."""

    def transferred(self, *, seconds: float, size: int, descriptors: int) -> None:
        """One transfer between one rank here and one rank there went well."""
        ...

    def transfer_failed(self) -> None:
        """A transfer, or the handshake before it, failed."""
        ...

    def notification_failed(self) -> None:
        """The peer could not be told that a transfer is over."""
        ...

    def lease_expired(self) -> None:
        """Blocks were given up that nobody had fetched."""
        ...

    def notified_late(self) -> None:
        """Somebody read blocks that were not held any more."""
        ...


class Unmeasured:
    """For connectors that export nothing, as MooncakeConnector in vLLM 0.32 and all of vllm-ascend's."""

    def transferred(self, *, seconds: float, size: int, descriptors: int) -> None:
        """Nothing."""

    def transfer_failed(self) -> None:
        """Nothing."""

    def notification_failed(self) -> None:
        """Nothing."""

    def lease_expired(self) -> None:
        """Nothing."""

    def notified_late(self) -> None:
        """Nothing."""


@dataclass(frozen=True)
class _Families:
    seconds: Histogram
    post_seconds: Histogram
    bytes: Histogram
    descriptors: Histogram
    failed_transfers: Counter
    failed_notifications: Counter
    expired: Counter
    late: Counter


#: Data-parallel ranks of one process share a registry, which takes each name once.
_FAMILIES: WeakKeyDictionary[CollectorRegistry, _Families] = WeakKeyDictionary()


class NixlMetrics:
    """One data-parallel rank's children of the metrics."""

    def __init__(self, registry: CollectorRegistry, labels: Mapping[str, str]) -> None:
        families = _FAMILIES.get(registry)
        if families is None:
            families = _FAMILIES[registry] = _register(registry, tuple(labels))
        self._seconds = families.seconds.labels(**labels)
        self._post_seconds = families.post_seconds.labels(**labels)
        self._bytes = families.bytes.labels(**labels)
        self._descriptors = families.descriptors.labels(**labels)
        self._failed_transfers = families.failed_transfers.labels(**labels)
        self._failed_notifications = families.failed_notifications.labels(**labels)
        self._expired = families.expired.labels(**labels)
        self._late = families.late.labels(**labels)

    def transferred(self, *, seconds: float, size: int, descriptors: int) -> None:
        """One transfer between one rank here and one rank there went well."""
        self._seconds.observe(seconds)
        self._post_seconds.observe(0.0)
        self._bytes.observe(size)
        self._descriptors.observe(descriptors)

    def transfer_failed(self) -> None:
        """A transfer, or the handshake before it, failed."""
        self._failed_transfers.inc()

    def notification_failed(self) -> None:
        """The peer could not be told; vLLM counts that among the transfers, too."""
        self._failed_transfers.inc()
        self._failed_notifications.inc()

    def lease_expired(self) -> None:
        """Blocks were given up that nobody had fetched."""
        self._expired.inc()

    def notified_late(self) -> None:
        """Somebody read blocks that were not held any more."""
        self._late.inc()


def _register(registry: CollectorRegistry, labels: tuple[str, ...]) -> _Families:
    def histogram(name: str, meaning: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, meaning, labels, buckets=buckets, registry=registry)

    def counter(name: str, meaning: str) -> Counter:
        return Counter(name, meaning, labels, registry=registry)

    return _Families(
        histogram("vllm:nixl_xfer_time_seconds", "Seconds that transfers took.", _SECONDS[1:]),
        histogram("vllm:nixl_post_time_seconds", "Seconds that posting transfers took.", _SECONDS),
        histogram("vllm:nixl_bytes_transferred", "Bytes per transfer.", _BYTES),
        histogram("vllm:nixl_num_descriptors", "Descriptors per transfer.", _DESCRIPTORS),
        counter("vllm:nixl_num_failed_transfers", "Transfers, handshakes and notifications that failed."),
        counter("vllm:nixl_num_failed_notifications", "Notifications that failed."),
        counter("vllm:nixl_num_kv_expired_reqs", "Requests whose KV expired; counted on prefill."),
        counter(
            "vllm:nixl_num_notifications_after_expiry",
            "Notifications for requests that were not tracked any more; one per rank of the reader.",
        ),
    )
