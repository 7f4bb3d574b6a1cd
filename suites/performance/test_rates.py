"""More and more requests per second, until the service does not hold."""

from __future__ import annotations

from pdtest.oracle.load_findings import knee_findings
from pdtest.oracle.side import PD
from pdtest.oracle.sweep import sweep_rates
from pdtest.plugin.fixtures import Rule
from pdtest.plugin.performance import Loads
from pdtest.report.performance import knee_line, steps


def test_where_the_knee_lies(loads: Loads, rule: Rule) -> None:
    """`performance.rates`: the highest rate at which most requests are good (`performance.slo`).

    It is the measure `knee_requests_per_s` of `thresholds.performance`.
    """
    sweep = sweep_rates(
        loads.settings,
        loads.workload,
        lambda name, workload: loads.put(name, workload, loads.sides[PD]),
        loads.exchanges,
    )
    rows = [(f"{rate:.3g}", [result]) for rate, result, _ in sweep.steps]
    loads.show(f"{steps('request rates', 'requests/s', rows)}\n{knee_line(sweep.knee)}")
    loads.tell_sweep(sweep)
    limit = loads.environment.thresholds.performance.get("knee_requests_per_s")
    rule("the service holds the rates it must", knee_findings(sweep, limit))
