"""One conventional instance against prefill and decode: latency, throughput and energy side by side."""

from __future__ import annotations

import pytest

from pdtest.compare import compare
from pdtest.oracle.claims import claim_findings
from pdtest.oracle.load_findings import load_findings, served
from pdtest.oracle.side import PD, SINGLE
from pdtest.plugin.fixtures import Rule
from pdtest.plugin.performance import Loads
from pdtest.report.performance import side_by_side


def test_what_disaggregation_gains(loads: Loads, rule: Rule) -> None:
    """The same workload on both in turn (ABBA); `performance.claims` are confirmed, refuted or left open."""
    if SINGLE not in loads.sides:
        pytest.skip("no colocated instance runs beside prefill and decode: reference.kind member has one")
    sides = loads.side_by_side(SINGLE, PD)
    comparison = compare(
        sides[SINGLE], sides[PD], loads.environment.compare, names=(SINGLE, PD), same_conditions=False
    )
    loads.show(side_by_side(sides, comparison))
    thresholds = loads.environment.thresholds
    rule(
        "what disaggregation gains",
        [
            *load_findings(sides[SINGLE], served(thresholds, apart=False)),
            *load_findings(sides[PD], served(thresholds, apart=loads.sides[PD].moves)),
            *claim_findings(comparison, loads.settings.claims),
        ],
    )
