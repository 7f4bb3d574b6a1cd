"""How long a router takes to decide: by its own histogram, or from outside.

From outside means by requests that engines refuse at once. A router learns of the refusal only after it has
decided and sent them, so what it adds to them is its decision and the way there and back, and no computing.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from itertools import pairwise
from typing import Any

from pdtest.client.endpoint import Endpoint
from pdtest.client.errors import RequestTimedOut
from pdtest.client.metrics import Metrics
from pdtest.client.request import COMPLETIONS

#: Histograms of the time of one decision, seconds. vllm-router 0.1.17 has none.
HISTOGRAMS = ("pdtest_proxy_decision_seconds",)
#: 99 of 100 decisions are made within the bound.
_SHARE = 0.99


@dataclass(frozen=True, kw_only=True)
class Bound:
    """Between which limits the 99th percentile of decisions lies, seconds.

    ``requests``: how many decisions that is about. ``source`` says in words how it was learned.
    """

    at_least_s: float
    at_most_s: float
    requests: int
    source: str

    def within(self, limit_s: float) -> bool | None:
        """Whether 99 of 100 are made within ``limit_s``; None where the limits leave it open."""
        if self.at_most_s <= limit_s:
            return True
        return False if self.at_least_s >= limit_s else None

    def __str__(self) -> str:
        low, high = self.at_least_s * 1e3, self.at_most_s * 1e3
        return f"p99 {low:.3g} to {high:.3g} ms of {self.requests} decisions, by {self.source}"


def decision_p99(before: Metrics, after: Metrics) -> Bound | None:
    """By the router's own histogram, of what was decided in between.

    None where it exports none, or decided nothing meanwhile.
    """
    for name in HISTOGRAMS:
        counts = _cumulative(before.delta(after), f"{name}_bucket")
        requests = round(counts.get(math.inf, 0))
        if requests:
            low, high = _bucket(counts, math.ceil(requests * _SHARE))
            return Bound(at_least_s=low, at_most_s=high, requests=requests, source=name)
    return None


def added_p99(through: Sequence[float], straight: Sequence[float]) -> Bound | None:
    """By what a router adds: seconds of requests through it, and of the same ones straight at an engine.

    An upper limit only: the fastest straight one is subtracted from a slow one through it. None without any.
    """
    if not through or min(straight, default=math.inf) == math.inf:
        return None
    slow = sorted(through)[math.ceil(len(through) * _SHARE) - 1]
    return Bound(
        at_least_s=0.0,
        at_most_s=max(slow - min(straight), 0.0),
        requests=len(through),
        source="what it adds to requests that engines refuse",
    )


async def measured(
    router: Endpoint, engine: Endpoint, *, requests: int, prompt: Sequence[int], within_s: float = 10.0
) -> Bound | None:
    """From outside: up to ``requests`` refused ones through the router, and as many straight at ``engine``.

    As many as there is time for ``within_s``; one that is not answered by then has no upper limit. None where
    they are not refused as expected, with status 400.
    """
    body = {"model": engine.model, "prompt": list(prompt), "max_tokens": 0}
    through: list[float] = []
    straight: list[float] = []
    deadline = time.monotonic() + within_s
    while len(through) < requests and time.monotonic() < deadline:
        for endpoint, times in ((engine, straight), (router, through)):
            took = await _refused(endpoint, body, deadline - time.monotonic())
            if took is None:
                return None
            times.append(took)
    return added_p99(through, straight)


async def _refused(endpoint: Endpoint, body: Mapping[str, Any], within_s: float) -> float | None:
    """Seconds until it was refused; infinite for one that was not answered in time."""
    try:
        async with asyncio.timeout(within_s):
            reply = await endpoint.command("POST", COMPLETIONS, body=body)
    except (TimeoutError, RequestTimedOut):
        return math.inf
    return reply.total_s if reply.status == HTTPStatus.BAD_REQUEST else None


def _cumulative(metrics: Metrics, name: str) -> dict[float, float]:
    """How many were counted up to each upper edge, over all labels, in the order of the edges."""
    counts = {float(edge): count for edge, count in metrics.by(name, "le").items()}
    return dict(sorted(counts.items()))


def _bucket(counts: Mapping[float, float], rank: int) -> tuple[float, float]:
    """The edges between which the one with this rank lies."""
    edges = (0.0, *counts)
    return next((low, high) for low, high in pairwise(edges) if counts[high] >= rank)
