"""The fixture that has topologies of the same hardware take turns, and leaves all as it was."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import pytest

from pdtest.cluster.cluster import Cluster
from pdtest.compare.gains import FILE, Gains
from pdtest.environment.schema import Role
from pdtest.oracle.gains import gains_of
from pdtest.oracle.side import PD, Side
from pdtest.oracle.topology import load_for, topologies_of
from pdtest.oracle.verdict import Finding
from pdtest.plugin.performance import Loads
from pdtest.plugin.terminal import start_up
from pdtest.plugin.wanted import current_run
from pdtest.report.gains import gains_table
from pdtest.results import Result
from pdtest.routing.roster import keep_to
from pdtest.whole import write_whole

#: The load that is put on where the environment names none: docs/environments.md.
_CLAIMED = "claimed"


class Topologies(Protocol):
    """The `topologies` fixture."""

    def __call__(self) -> tuple[Gains, Sequence[Finding]]:
        """Measure them all, show the table, keep it; gives it and what must come of it."""
        ...


@pytest.fixture
def topologies(request: pytest.FixtureRequest, loads: Loads) -> Iterator[Topologies]:
    """Holds `performance.topologies` against one another, on the same hardware and under the same load.

    They take turns, ABBA, `performance.runs` times, and their proxies are told who is there. Prints the table
    and writes topologies.json into the environment's folder of the run. At the end the members run that did
    at the beginning. Skips without topologies, or where nobody could lead the requests of one.
    """
    wanted = loads.settings.topologies
    if not wanted:
        pytest.skip("performance.topologies names none")
    sides = topologies_of(loads.cluster, loads.contract)
    lost = [name for name in wanted if name not in sides]
    if lost:
        pytest.skip(f"{lost[0]} has no proxy, and a load's client cannot lead {loads.contract.name} itself")
    cluster = loads.cluster
    used = replace(loads, sides=sides, take_turns=True, ready=lambda side: _introduce(cluster, side))
    began = {name for name, one in cluster.members.items() if one.alive}
    try:
        yield lambda: _measured(used, request)
    finally:
        _as_before(cluster, sides, began, request)
        _introduce(cluster, loads.sides[PD])


def _introduce(cluster: Cluster, side: Side) -> None:
    """Its proxies know who is there, and send requests to nobody else."""
    for way in side.ways:
        if cluster.members[way.answers.name].role is Role.PROXY:
            asyncio.run(keep_to(cluster, way.answers.name, side.engines))


def _measured(used: Loads, request: pytest.FixtureRequest) -> tuple[Gains, Sequence[Finding]]:
    results = _results(used)
    gains, findings = gains_of(used.environment, used.sides, results)
    directory = current_run(request.config).directory / used.environment.name
    write_whole(directory / FILE, gains.model_dump_json(indent=1) + "\n")
    used.show(gains_table(gains))
    return gains, findings


def _results(used: Loads) -> Mapping[str, tuple[Result, ...]]:
    named = used.settings.topologies_workload
    if named is not None:
        return used.in_turn(named, used.called(named, "performance.topologies_workload"), [*used.sides])
    engines = max(len(side.engines) for side in used.sides.values())
    return used.in_turn(_CLAIMED, load_for(used.environment, engines), [*used.sides])


def _as_before(
    cluster: Cluster, sides: Mapping[str, Side], began: set[str], request: pytest.FixtureRequest
) -> None:
    """Those run that ran before."""
    theirs = {name for side in sides.values() for name in side.members}
    if gone := {name for name in theirs if cluster.members[name].alive} - began:
        cluster.stop(gone)
    if missing := {name for name in theirs & began if not cluster.members[name].alive}:
        with start_up(request.config, cluster, f"starting {cluster.environment.name} again") as watch:
            cluster.start(missing, watch=watch)
