"""The environment's workload, held against its limits."""

from __future__ import annotations

from pdtest.oracle.load_findings import limits_of, load_findings
from pdtest.oracle.side import PD
from pdtest.plugin.fixtures import Rule
from pdtest.plugin.performance import Loads
from pdtest.report.performance import side_by_side


def test_limits_are_kept(loads: Loads, rule: Rule) -> None:
    """`thresholds.performance`, over `performance.runs` runs; and every run moves its KV, and is answered."""
    runs = loads.runs()
    loads.show(side_by_side({PD: runs}, None))
    limits = limits_of(loads.environment.thresholds, apart=loads.sides[PD].moves)
    rule("limits are kept", load_findings(runs, limits))
