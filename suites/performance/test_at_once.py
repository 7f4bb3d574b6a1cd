"""More and more at once: batches that are sent together, users who ask again as soon as they are answered."""

from __future__ import annotations

from pdtest.oracle.load_findings import served, sweep_findings
from pdtest.oracle.side import PD
from pdtest.oracle.sweep import batch_of, users_of
from pdtest.oracle.verdict import Finding
from pdtest.plugin.fixtures import Rule
from pdtest.plugin.performance import Loads
from pdtest.report.performance import steps
from pdtest.results import Result


def test_batch_sizes(loads: Loads, rule: Rule) -> None:
    """`performance.batches`: all are answered, and no larger batch is slower than a smaller one."""
    settings, found = loads.settings, []
    for size in settings.batches:
        batch = batch_of(loads.workload, size)
        results = [
            loads.put(f"batch-{size}", batch, loads.sides[PD], repeat=number)
            for number in range(settings.batch_rounds)
        ]
        found.append((float(size), results))
    loads.show(steps("batches", "batch of", _rows(found)))
    rule("larger batches are no slower", _findings(loads, found, "batch size"))


def test_concurrency(loads: Loads, rule: Rule) -> None:
    """`performance.concurrency`: a closed loop of more and more users."""
    settings, found = loads.settings, []
    for users in settings.concurrency:
        load = users_of(loads.workload, users, settings.per_user)
        found.append((float(users), [loads.put(f"users-{users}", load, loads.sides[PD])]))
    loads.show(steps("closed loops", "users", _rows(found)))
    rule("more users are served no slower", _findings(loads, found, "users"))


def _findings(loads: Loads, found: list[tuple[float, list[Result]]], of: str) -> list[Finding]:
    limits = served(loads.environment.thresholds, apart=loads.sides[PD].moves)
    return [*sweep_findings(found, limits, loads.settings.collapse, of=of)]


def _rows(found: list[tuple[float, list[Result]]]) -> list[tuple[str, list[Result]]]:
    return [(f"{size:g}", results) for size, results in found]
