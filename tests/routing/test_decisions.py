from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from typing import Any, cast

import pytest

from pdtest.client.endpoint import Endpoint
from pdtest.client.exchange import Reply
from pdtest.client.metrics import Metrics
from pdtest.routing.decisions import Bound, added_p99, decision_p99, measured

EMPTY = Metrics.parse("")


def histogram(**counts: int) -> Metrics:
    lines = ["# TYPE pdtest_proxy_decision_seconds histogram"]
    for edge, count in counts.items():
        le = "+Inf" if edge == "inf" else f"0.{edge[1:]}"
        lines.append(f'pdtest_proxy_decision_seconds_bucket{{le="{le}"}} {count}')
    lines.append(f"pdtest_proxy_decision_seconds_count {counts['inf']}")
    return Metrics.parse("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [
        ({"_001": 99, "_01": 100, "inf": 100}, 0.0, 0.001),
        ({"_001": 98, "_01": 100, "inf": 100}, 0.001, 0.01),
        ({"_001": 0, "_01": 98, "inf": 100}, 0.01, math.inf),
        ({"_001": 1, "_01": 1, "inf": 1}, 0.0, 0.001),
    ],
)
def test_the_bucket_that_has_the_ninety_ninth(counts: dict[str, int], low: float, high: float) -> None:
    bound = decision_p99(EMPTY, histogram(**counts))
    assert bound is not None
    assert (bound.at_least_s, bound.at_most_s, bound.requests) == (low, high, counts["inf"])


def test_what_was_decided_before_does_not_count() -> None:
    before, after = histogram(_001=0, _01=0, inf=100), histogram(_001=50, _01=50, inf=150)
    bound = decision_p99(before, after)
    assert bound is not None
    assert (bound.at_most_s, bound.requests) == (0.001, 50)


def test_a_router_without_a_histogram_or_without_decisions_tells_nothing() -> None:
    idle = histogram(_001=7, inf=7)
    assert decision_p99(EMPTY, EMPTY) is None
    assert decision_p99(idle, idle) is None


@pytest.mark.parametrize(
    ("low", "high", "within"), [(0.0, 0.01, True), (0.005, 0.02, None), (0.01, 0.02, False), (0, 0.011, None)]
)
def test_a_limit_is_kept_or_broken_or_it_stays_open(low: float, high: float, *, within: bool | None) -> None:
    bound = Bound(at_least_s=low, at_most_s=high, requests=1, source="")
    assert bound.within(0.01) is within


def test_what_a_router_adds_is_an_upper_limit() -> None:
    through = [0.002] * 99 + [0.5]
    bound = added_p99(through, [0.0015, 0.4])
    assert bound is not None
    assert bound.at_most_s == pytest.approx(0.0005)
    assert bound.within(0.010) is True
    assert bound.within(0.0001) is None  # never a failure: engines and the way there are in it
    assert added_p99([0.001] * 98 + [0.5] * 2, [0.001]).at_most_s == pytest.approx(0.499)  # type: ignore[union-attr]
    assert added_p99([], [1.0]) is None
    assert added_p99([1.0], [math.inf]) is None


class Engine:
    """Answers after ``takes_s``, with ``status``."""

    model = "m"

    def __init__(self, takes_s: float, status: int = 400) -> None:
        self.takes_s = takes_s
        self.status = status
        self.asked: list[Mapping[str, Any]] = []

    async def command(self, method: str, path: str, *, body: Mapping[str, Any]) -> Reply:
        assert (method, path) == ("POST", "/v1/completions")
        self.asked.append(body)
        await asyncio.sleep(min(self.takes_s, 30))
        return Reply(status=self.status, total_s=self.takes_s)


async def bound_of(router: Engine, engine: Engine, within_s: float = 10) -> Bound | None:
    clients = cast("tuple[Endpoint, Endpoint]", (router, engine))
    return await measured(*clients, requests=5, prompt=[1, 2], within_s=within_s)


async def test_what_is_refused_is_measured_on_both_ways() -> None:
    router, engine = Engine(0.003), Engine(0.001)
    bound = await bound_of(router, engine)
    assert bound is not None
    assert bound.requests == 5
    assert bound.at_most_s == pytest.approx(0.002)
    assert router.asked == engine.asked == [{"model": "m", "prompt": [1, 2], "max_tokens": 0}] * 5


async def test_a_router_that_does_not_answer_in_time_has_no_limit() -> None:
    bound = await bound_of(Engine(1000), Engine(0.001), within_s=0.1)
    assert bound is not None
    assert (bound.requests, bound.at_most_s) == (1, math.inf)
    assert bound.within(0.010) is None
    assert await bound_of(Engine(0.001), Engine(1000), within_s=0.1) is None


@pytest.mark.parametrize("sides", [(Engine(0, 200), Engine(0)), (Engine(0), Engine(0, 200))])
async def test_who_does_not_refuse_cannot_be_measured(sides: tuple[Engine, Engine]) -> None:
    assert await bound_of(*sides) is None
