from __future__ import annotations

import pytest

from pdtest.client.metrics import Metrics
from pdtest.oracle.routing.decisions import Looks, decision_findings, overloaded
from pdtest.oracle.verdict import Ruling
from pdtest.routing.decisions import Bound


def bound(low: float, high: float, requests: int = 200) -> Bound:
    return Bound(at_least_s=low, at_most_s=high, requests=requests, source="a histogram")


@pytest.mark.parametrize(
    ("told", "ruling"),
    [
        (bound(0.0005, 0.001), Ruling.PASS),
        (bound(0.005, 0.01), Ruling.PASS),
        (bound(0.01, 0.015), Ruling.FAIL),
        (bound(0.0, 0.2), Ruling.INCONCLUSIVE),
        (bound(0.0005, 0.001, requests=99), Ruling.INCONCLUSIVE),
        (None, Ruling.INCONCLUSIVE),
    ],
)
def test_99_of_100_decisions(told: Bound | None, ruling: Ruling) -> None:
    (found,) = decision_findings(told, 0.01)
    assert found.ruling is ruling


def test_overload_is_what_the_router_says_of_prefill() -> None:
    head = "# TYPE pdtest_proxy_overloaded gauge\n"
    one = 'pdtest_proxy_overloaded{leg="prefill",instance="a"} 0\n'
    assert overloaded(Metrics.parse(head + one)) is False
    assert overloaded(Metrics.parse(head + one + one.replace('"a"} 0', '"b"} 1'))) is True
    assert overloaded(Metrics.parse("")) is None


def test_a_load_that_left_engines_idle_proves_nothing() -> None:
    looks = Looks(engines={"p1": None, "p2": None}, looks=40, idle={"p1": 30, "p2": 1})  # type: ignore[dict-item]
    assert not looks.busy(0.95)
    looks.idle["p2"] = 3
    assert looks.busy(0.95)[0].ruling is Ruling.INCONCLUSIVE
