"""A workload takes the ways that its plan has for it: the environment's `workloads`, under its `routing`."""

from __future__ import annotations

import pytest

from pdtest import Environment
from pdtest.client.prompts import Prompts
from pdtest.environment.routing import ByPhase
from pdtest.load.layout import lay_out
from pdtest.oracle.routing.decisions import figures_of
from pdtest.oracle.routing.findings import way_findings
from pdtest.oracle.routing.router import Router
from pdtest.oracle.routing.shares import errands_of, metric_findings, shares_of, workload_findings
from pdtest.plugin.fixtures import Rule


async def test_workloads_take_their_ways(
    environment: Environment, phase: ByPhase, router: Router, prompts: Prompts, rule: Rule
) -> None:
    """Each request of each workload goes its way; and the router's own figures say the same."""
    if not environment.workloads:
        pytest.skip(f"{environment.name} has no workloads")
    findings = []
    for name, workload in environment.workloads.items():
        plan = lay_out(
            workload,
            vocab_size=prompts.vocab_size,
            max_model_len=environment.model.max_model_len,
            salt=f"{prompts.seed}:{name}",
            base=environment.source.parent if environment.source else None,
        )
        before = await figures_of(router.endpoint)
        traffic = await router.at_once(*errands_of(plan.asks))
        after = await figures_of(router.endpoint)
        shares = shares_of(plan.asks, phase, hybrids=router.hybrids)
        findings += [
            *traffic.answered(),
            *way_findings(traffic, phase, hybrids=router.hybrids),
            *workload_findings(traffic, shares),
            *metric_findings(traffic, before, after),
        ]
    rule("workloads take their ways", findings)
