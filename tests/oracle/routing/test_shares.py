from __future__ import annotations

from pathlib import Path as File

import pytest

from pdtest.client.metrics import Metrics
from pdtest.environment.loading import load
from pdtest.environment.routing import ByPhase
from pdtest.load.ask import Ask
from pdtest.load.layout import lay_out
from pdtest.oracle.routing.caches import hit_findings
from pdtest.oracle.routing.expected import Lengths, expected
from pdtest.oracle.routing.shares import (
    Share,
    errands_of,
    metric_findings,
    shares_of,
    workload_findings,
)
from pdtest.oracle.verdict import Ruling
from pdtest.routing.served import Path

from .made import routed, traffic

ENVIRONMENTS = File(__file__).parents[3] / "environments"
PRESETS = {
    "document-qa": ByPhase(policy="threshold", input_threshold=2000, ratio=10),
    "chat": ByPhase(policy="adaptive", input_threshold=200, ratio=1),
    "code-generation": ByPhase(policy="adaptive", input_threshold=500, ratio=0.5),
    "default": ByPhase(policy="adaptive", input_threshold=800, ratio=4),
}


def asks(preset: str) -> tuple[Ask, ...]:
    workload = load(ENVIRONMENTS / f"embedded-routing-{preset}.yaml").workloads["default"]
    return lay_out(workload, vocab_size=259, max_model_len=4096).asks


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_what_is_asked_for_and_use_more_than_one_way(preset: str) -> None:
    phase = load(ENVIRONMENTS / f"embedded-routing-{preset}.yaml").routing.phase
    assert phase == PRESETS[preset]
    shares = shares_of(asks(preset), phase, hybrids=False)
    assert sum(share.may > 0 for share in shares) == 2
    assert sum(share.must for share in shares) > 0


def test_shares_are_the_sums_of_what_each_request_demands() -> None:
    planned, phase = asks("document-qa"), PRESETS["document-qa"]
    ways = [expected(phase, Lengths.of(ask.request), hybrids=False) for ask in planned]
    prefill, decode, hybrid = shares_of(planned, phase, hybrids=False)
    assert prefill == Share(path=Path.PREFILL, must=ways.count(frozenset({Path.PREFILL})), may=prefill.must)
    assert prefill.must + decode.must == len(planned)
    assert hybrid == Share(path=Path.HYBRID, must=0, may=0)
    assert [one.due_s for one in errands_of(planned)] == [ask.due_s for ask in planned]


@pytest.mark.parametrize(("taken", "ruling"), [(1, Ruling.FAIL), (2, Ruling.PASS), (3, Ruling.PASS)])
def test_as_many_took_a_way_as_the_plan_has(taken: int, ruling: Ruling) -> None:
    sent = traffic(*[routed(path=Path.DECODE)] * taken, *[routed()] * (4 - taken))
    (found,) = workload_findings(sent, [Share(path=Path.DECODE, must=2, may=3)])
    assert found.ruling is ruling


def metrics(text: str) -> Metrics:
    return Metrics.parse(text)


def test_a_routers_own_figures_are_held_against_what_was_seen() -> None:
    head = "# TYPE pdtest_proxy_routed counter\n"
    before = metrics(head + 'pdtest_proxy_routed_total{path="prefill"} 5\n')
    after = metrics(head + 'pdtest_proxy_routed_total{path="prefill"} 7\n')
    assert metric_findings(traffic(routed(), routed()), before, after)[0].ruling is Ruling.PASS
    assert metric_findings(traffic(routed()), before, after)[0].ruling is Ruling.FAIL
    assert not metric_findings(traffic(routed()), None, None)
    assert not metric_findings(traffic(routed()), metrics(""), metrics(""))


@pytest.mark.parametrize(("hits", "ruling"), [(30, Ruling.PASS), (29, Ruling.FAIL)])
def test_caches_have_the_share_that_is_wanted(hits: int, ruling: Ruling) -> None:
    def counted(found: int, asked: int) -> dict[str, Metrics]:
        text = "".join(
            f"# TYPE vllm:prefix_cache_{name} counter\nvllm:prefix_cache_{name}_total {value}\n"
            for name, value in (("hits", found), ("queries", asked))
        )
        return {"prefill": metrics(text)}

    assert hit_findings(counted(5, 10), counted(5 + hits, 110), 0.3)[0].ruling is ruling
    assert hit_findings(counted(5, 10), counted(5, 10), 0.3)[0].ruling is Ruling.INCONCLUSIVE
    assert hit_findings({"p": metrics("")}, {"p": metrics("")}, 0.3)[0].ruling is Ruling.INCONCLUSIVE
