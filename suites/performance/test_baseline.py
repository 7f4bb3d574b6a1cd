"""Against what was measured before: last night, or before a change."""

from __future__ import annotations

from pdtest.plugin.baseline import Against
from pdtest.plugin.fixtures import Rule
from pdtest.plugin.performance import Loads


def test_no_worse_than_the_baseline(loads: Loads, baseline: Against, rule: Rule) -> None:
    """`performance.runs` runs of the workload against those of ``--baseline NAME``: docs/comparison.md."""
    rule("no worse than the baseline", baseline(loads.runs()))
