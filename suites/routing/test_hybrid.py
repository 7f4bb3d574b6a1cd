"""Whoever computes a request, its answer is the same; and hybrid instances do compute both halves."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from pdtest import Environment
from pdtest.client.endpoint import Endpoint
from pdtest.environment.routing import ByPhase
from pdtest.oracle.parity import Tolerance
from pdtest.oracle.reference import Reference
from pdtest.oracle.routing.findings import counted_findings, way_findings
from pdtest.oracle.routing.lanes import Lanes
from pdtest.oracle.routing.router import Router
from pdtest.oracle.routing.traffic import Errands, Traffic
from pdtest.oracle.trial import Trial
from pdtest.oracle.verdict import Finding
from pdtest.plugin.fixtures import Rule
from pdtest.routing.counted import MetricsObserver
from pdtest.routing.served import Path

every_way = pytest.mark.parametrize("way", list(Path), ids=str)


@every_way
async def test_answers_are_the_colocated_ones(  # noqa: PLR0913, PLR0917 - fixtures are asked for by name
    way: Path,
    phase: ByPhase,
    environment: Environment,
    router: Router,
    lanes: Lanes,
    errands: Errands,
    colocated: Reference,
    rule: Rule,
) -> None:
    """Token by token and to the log-probability, whichever way it took."""
    found = lanes.every(way)
    if not found:
        pytest.skip(f"no request surely takes the way {way} here")
    sent = [errand for lane in found for errand in errands.of(lane, logprobs=2)]
    traffic = await router.at_once(*sent)
    findings = way_findings(traffic, phase, hybrids=router.hybrids)
    parity = await _parity(traffic, colocated, environment)
    rule(f"{way}: equal to colocated", [*traffic.answered(), *findings, *parity])


async def _parity(traffic: Traffic, reference: Reference, environment: Environment) -> list[Finding]:
    trial = Trial(reference, Tolerance.of(environment), environment.model.block_size)
    for one in traffic.routed:
        await trial.weigh(one.errand.request, one.answer, one.answer.request_id)
    return trial.findings


@every_way
async def test_counters_agree(  # noqa: PLR0913, PLR0917 - fixtures are asked for by name
    way: Path,
    phase: ByPhase,
    environment: Environment,
    router: Router,
    engines: Mapping[str, Endpoint],
    lanes: Lanes,
    errands: Errands,
    rule: Rule,
) -> None:
    """What the router says of who served a request, its engines have counted."""
    found = lanes.every(way)
    if not found:
        pytest.skip(f"no request surely takes the way {way} here")
    counting = MetricsObserver(engines, router.roles, within_s=environment.thresholds.settle_s)
    findings: list[Finding] = []
    for lane in found:
        told, counted = await router.told_and_counted(errands.of(lane)[0], counting)
        findings += counted_findings(told, counted)
    rule(f"{way}: engines have counted what the router says", findings)
