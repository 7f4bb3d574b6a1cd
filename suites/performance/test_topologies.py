"""One hardware, used in several ways: mixed instances, prefill and decode apart, hybrid ones beside them."""

from __future__ import annotations

from pdtest.plugin.fixtures import Rule
from pdtest.plugin.topologies import Topologies


def test_what_topologies_gain(topologies: Topologies, rule: Rule) -> None:
    """Throughput, the tail of latency, what a device gives and what tokens cost, each with its verdict.

    `performance.topologies.<name>.claims` are confirmed, refuted or left open: docs/comparison.md.
    """
    _, findings = topologies()
    rule("what topologies gain", findings)
