"""The same load by vLLM's benchmark client: ours must see what it sees."""

from __future__ import annotations

import sys

import pytest

from pdtest.load.bench_serve import BenchServe, is_installed
from pdtest.oracle.load_findings import cross_check_findings
from pdtest.oracle.side import PD
from pdtest.oracle.sweep import even
from pdtest.plugin.fixtures import Rule
from pdtest.plugin.performance import Loads
from pdtest.report.performance import cross_check


def test_two_clients_see_the_same(loads: Loads, rule: Rule) -> None:
    """`vllm bench serve` against ours on prefill and decode: throughput and time per token."""
    side = loads.sides[PD]
    if side.ways[0].prefill is not None:
        pytest.skip("vllm bench serve speaks to a proxy, and there is none")
    python = loads.settings.bench_python or loads.environment.requires.python or sys.executable
    if not is_installed(python):
        pytest.skip(f"{python} has no vLLM")
    plan = loads.bench.plan(even(loads.workload), "cross-check")
    bench = BenchServe(
        python=python,
        tokenizer=loads.settings.tokenizer or loads.environment.model.path,
        directory=loads.bench.directory / "cross-check-vllm",
    )
    before = loads.put("cross-check", plan.workload, side)
    theirs = bench.run(
        plan, side.ways[0].answers, timeout_s=loads.environment.thresholds.request_timeout_s * 2
    )
    after = loads.put("cross-check", plan.workload, side, repeat=1)
    loads.show(cross_check(before, theirs, after))
    rule(
        "two clients see the same",
        cross_check_findings(before, theirs, after, loads.settings.cross_check),
    )
