"""What the proxy counts, for Prometheus and for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Any

from pdtest.embedded.proxy.histogram import BOUNDS, Histogram
from pdtest.embedded.proxy.instances import Instance, Pool, Side


class Requests:
    """Requests of clients that are over, by path and status; 499 are those whose client went away."""

    def __init__(self) -> None:
        self.by_status: Counter[tuple[str, int]] = Counter()

    def tell(self, path: str, status: int) -> None:
        """One more."""
        self.by_status[path, status] += 1


def stats(pool: Pool, requests: Requests) -> dict[str, Any]:
    """The answer of /stats."""
    return {
        "requests": [
            {"path": path, "status": status, "count": count}
            for (path, status), count in sorted(requests.by_status.items())
        ],
        **{f"{side}_instances": [_about(instance) for instance in pool.of(side)] for side in Side},
    }


def _about(instance: Instance) -> dict[str, Any]:
    about: dict[str, Any] = {
        "instance": instance.address,
        "in": instance.out is None,
        "out_because": instance.out,
        "in_flight": instance.in_flight,
        "kv_length": instance.kv_length,
        "done": instance.done,
        "failed": instance.failed,
        "aborted": instance.aborted,
        "mean_leg_s": instance.legs.mean,
    }
    if instance.side is Side.DECODE:
        about["mean_first_chunk_s"] = instance.first_chunks.mean
    return about


def exposition(pool: Pool, requests: Requests) -> str:
    """The answer of /metrics, in Prometheus' text format 0.0.4."""
    every = tuple(pool)
    lines = [
        *_family("requests_total", "counter", "Requests of clients, by status. 499: the client went away."),
        *(
            f'pdtest_proxy_requests_total{{path="{path}",status="{status}"}} {count}'
            for (path, status), count in sorted(requests.by_status.items())
        ),
    ]
    for name, kind, about, value in _FIGURES:
        lines += _family(name, kind, about)
        lines += [f"pdtest_proxy_{name}{{{_labels(instance)}}} {value(instance)}" for instance in every]
    lines += _histograms(
        "leg_seconds",
        "Legs that were done, from sending the request to the end of the answer.",
        [(instance, instance.legs) for instance in every],
    )
    lines += _histograms(
        "first_chunk_seconds",
        "Legs to decode, from sending the request to the first bytes of the answer.",
        [(instance, instance.first_chunks) for instance in every if instance.side is Side.DECODE],
    )
    return "\n".join(lines) + "\n"


_FIGURES = (
    ("up", "gauge", "1 while requests are sent to the instance.", lambda one: int(one.out is None)),
    ("in_flight", "gauge", "Legs under way.", lambda one: one.in_flight),
    (
        "kv_length_tokens",
        "gauge",
        "Prompts and generated tokens of the legs under way.",
        lambda one: one.kv_length,
    ),
    ("legs_total", "counter", "Legs that were done.", lambda one: one.done),
    ("failures_total", "counter", "Legs that the instance failed.", lambda one: one.failed),
    ("aborts_total", "counter", "Legs that nobody wanted any more.", lambda one: one.aborted),
)


def _family(name: str, kind: str, about: str) -> tuple[str, str]:
    return f"# HELP pdtest_proxy_{name} {about}", f"# TYPE pdtest_proxy_{name} {kind}"


def _labels(instance: Instance) -> str:
    return f'leg="{instance.side}",instance="{instance.address}"'


def _histograms(name: str, about: str, every: Iterable[tuple[Instance, Histogram]]) -> Iterator[str]:
    yield from _family(name, "histogram", about)
    for instance, histogram in every:
        labels = _labels(instance)
        for bound, count in zip((*BOUNDS, "+Inf"), accumulate(histogram.counts), strict=True):
            yield f'pdtest_proxy_{name}_bucket{{{labels},le="{bound}"}} {count}'
        yield f"pdtest_proxy_{name}_sum{{{labels}}} {histogram.total}"
        yield f"pdtest_proxy_{name}_count{{{labels}}} {histogram.count}"
