"""What the proxy tells of itself, to Prometheus and to people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from pdtest.embedded.proxy.counts import Decisions, Requests
from pdtest.embedded.proxy.histogram import Histogram
from pdtest.embedded.proxy.instances import Instance, Pool, Side
from pdtest.embedded.proxy.routing.path import Path

if TYPE_CHECKING:
    from pdtest.embedded.proxy.proxy import Proxy
    from pdtest.embedded.proxy.routing.pulse import Pulse


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
    if instance.side is not Side.PREFILL:
        about["mean_first_chunk_s"] = instance.first_chunks.mean
    return about


def exposition(proxy: Proxy) -> str:
    """The answer of /metrics, in Prometheus' text format 0.0.4."""
    every = tuple(proxy.pool)
    lines = (
        *_of_requests(proxy.requests),
        *_of_decisions(proxy),
        *_of_load(every, proxy.pulse),
        *_of_instances(every),
    )
    return "\n".join(lines) + "\n"


def _of_requests(requests: Requests) -> Iterator[str]:
    yield from _family(
        "requests_total", "counter", "Requests of clients, by status. 499: the client went away."
    )
    for (path, status), count in sorted(requests.by_status.items()):
        yield f'pdtest_proxy_requests_total{{path="{path}",status="{status}"}} {count}'


def _of_decisions(proxy: Proxy) -> Iterator[str]:
    decisions: Decisions = proxy.decisions
    yield from _family("routed_total", "counter", "Requests by the way that they took.")
    for path in Path:
        yield f'pdtest_proxy_routed_total{{path="{path}"}} {decisions.by_path[path]}'
    yield from _family("decision_seconds", "histogram", "Time it took to say who gets a request.")
    yield from _histogram("decision_seconds", "", decisions.seconds)
    if (threshold := proxy.router.phase.threshold) is not None:
        yield from _family(
            "input_threshold_tokens", "gauge", "A prompt of so many tokens is long, at the moment."
        )
        yield f"pdtest_proxy_input_threshold_tokens {threshold}"
    if (expected := proxy.answers.mean) is not None:
        yield from _family("expected_answer_tokens", "gauge", "Mean length of the answers of late.")
        yield f"pdtest_proxy_expected_answer_tokens {expected}"
    yield from _family("instances_wanted", "gauge", "How many there should be, where that has bounds.")
    for side, wanted in proxy.pulse.wanted.items():
        yield f'pdtest_proxy_instances_wanted{{leg="{side}"}} {wanted.number or wanted.bounds.least}'


def _of_load(every: Iterable[Instance], pulse: Pulse) -> Iterator[str]:
    yield from _family("busy_ratio", "gauge", "Share of the last seconds in which the instance had work.")
    for one in every:
        yield f"pdtest_proxy_busy_ratio{{{_labels(one)}}} {pulse.share(one)}"
    yield from _family("overloaded", "gauge", "1 while a prefill instance is busier than --overload.")
    for one in every:
        if one.side is Side.PREFILL:
            yield f"pdtest_proxy_overloaded{{{_labels(one)}}} {int(one.overloaded)}"
    yield from _family("cached_tokens_total", "counter", "Of prompt_tokens_total, what was in a cache.")
    for one in every:
        if one.cached_tokens is not None:
            yield f"pdtest_proxy_cached_tokens_total{{{_labels(one)}}} {one.cached_tokens}"


def _of_instances(every: Iterable[Instance]) -> Iterator[str]:
    for name, kind, about, value in _FIGURES:
        yield from _family(name, kind, about)
        for instance in every:
            yield f"pdtest_proxy_{name}{{{_labels(instance)}}} {value(instance)}"
    yield from _family(
        "leg_seconds", "histogram", "Legs that were done, from sending the request to the end of the answer."
    )
    for instance in every:
        yield from _histogram("leg_seconds", _labels(instance), instance.legs)
    yield from _family(
        "first_chunk_seconds",
        "histogram",
        "Legs to decode and to hybrids, from sending the request to the first bytes of the answer.",
    )
    for instance in every:
        if instance.side is not Side.PREFILL:
            yield from _histogram("first_chunk_seconds", _labels(instance), instance.first_chunks)


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
    (
        "prompt_tokens_total",
        "counter",
        "Tokens of the prompts that the instance computed, as far as it said so.",
        lambda one: one.prompt_tokens,
    ),
    ("aborts_total", "counter", "Legs that nobody wanted any more.", lambda one: one.aborted),
)


def _family(name: str, kind: str, about: str) -> tuple[str, str]:
    return f"# HELP pdtest_proxy_{name} {about}", f"# TYPE pdtest_proxy_{name} {kind}"


def _labels(instance: Instance) -> str:
    return f'leg="{instance.side}",instance="{instance.address}"'


def _histogram(name: str, labels: str, histogram: Histogram) -> Iterator[str]:
    before, whole = (f"{labels},", f"{{{labels}}}") if labels else ("", "")
    for bound, count in zip((*histogram.bounds, "+Inf"), accumulate(histogram.counts), strict=True):
        yield f'pdtest_proxy_{name}_bucket{{{before}le="{bound}"}} {count}'
    yield f"pdtest_proxy_{name}_sum{whole} {histogram.total}"
    yield f"pdtest_proxy_{name}_count{whole} {histogram.count}"
