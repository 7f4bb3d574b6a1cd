"""The same load per engine on more and more engines: what a deployment gains from its size."""

from __future__ import annotations

import pytest

from pdtest.environment.schema import Role
from pdtest.oracle.load_findings import scaling_findings, served
from pdtest.oracle.side import can_lead, led
from pdtest.oracle.sweep import scaling_efficiency, sizes, users_of
from pdtest.plugin.fixtures import Rule
from pdtest.plugin.performance import Loads
from pdtest.report.performance import steps


def test_more_engines_serve_more(loads: Loads, rule: Rule) -> None:
    """Parts of the deployment in its own ratio (8p24d: 1p3d, 2p6d, 4p12d, all), each led by the client.

    `scaling_efficiency` of `thresholds.performance`: throughput per engine, of all over that of the fewest.
    """
    if not can_lead(loads.contract):
        pytest.skip(f"{loads.contract.name}: a load's client cannot choose the engines itself")
    prefills, decodes = (loads.cluster.with_role(role) for role in (Role.PREFILL, Role.DECODE))
    parts = [*sizes(len(prefills), len(decodes))]
    if len(parts) == 1:
        pytest.skip(f"{len(prefills)} prefill and {len(decodes)} decode members have no smaller ratio")
    found = []
    for prefill, decode in parts:
        part = led(
            loads.cluster,
            loads.contract,
            prefills[:prefill],
            decodes[:decode],
            name=f"{prefill}p{decode}d",
        )
        users = loads.settings.users_per_engine * (prefill + decode)
        load = users_of(loads.workload, users, loads.settings.per_user)
        found.append((part.name, prefill + decode, loads.put("scaling", load, part)))
    loads.show(steps("scaling", "engines", [(name, [result]) for name, _, result in found]))
    efficiency = scaling_efficiency([(engines, result) for _, engines, result in found])
    loads.tell({"scaling_efficiency": efficiency}, "events.jsonl")
    thresholds = loads.environment.thresholds
    limit = thresholds.performance.get("scaling_efficiency")
    results = [result for *_, result in found]
    rule(
        "more engines serve more",
        scaling_findings(results, served(thresholds, apart=True), efficiency, limit),
    )
