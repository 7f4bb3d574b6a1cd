"""The fixture that puts loads on an environment and keeps what was measured, for tests that share it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import httpx
import pytest

from pdtest.client.endpoints import endpoint_of
from pdtest.client.errors import RequestFailed
from pdtest.cluster.cluster import Cluster
from pdtest.environment.performance import Performance
from pdtest.environment.schema import ENGINE_ROLES, Environment
from pdtest.environment.workload import Workload
from pdtest.errors import PdtestError
from pdtest.events.load import LoadMeasured
from pdtest.load.hand import Hire
from pdtest.load.hiring import hiring
from pdtest.oracle.bench import Bench
from pdtest.oracle.evidence import Reading
from pdtest.oracle.side import PD, Side, sides_of
from pdtest.oracle.sweep import RateSweep
from pdtest.oracle.volley import read_engines
from pdtest.plugin.record import TestRecord
from pdtest.plugin.stash import MEASURED
from pdtest.plugin.terminal import released, start_up
from pdtest.plugin.wanted import current_run, vocab_size_of
from pdtest.report import performance as report
from pdtest.results import Exchange, Result, read_exchanges
from pdtest.telemetry.telemetry import Telemetry, telemetry
from pdtest.telemetry.wanted import settings_of
from pdtest.wire.contract import Contract


class UnknownWorkload(PdtestError):
    """Settings name a workload that the environment does not have."""

    title = "unknown workload"


@dataclass(frozen=True, kw_only=True)
class Loads:
    """The `loads` fixture: puts workloads on a running environment. All of it blocks.

    ``sides`` by name: `PD`, and `SINGLE` where a colocated instance runs beside it. ``take_turns``: only
    one of them runs at a time; ``ready`` hears of the one that does, before a load.
    """

    environment: Environment
    contract: Contract
    cluster: Cluster
    sides: Mapping[str, Side]
    bench: Bench = field(repr=False)
    _request: pytest.FixtureRequest = field(repr=False)
    _known: dict[tuple[str, str, str], tuple[Result, ...]] = field(repr=False)
    take_turns: bool = False
    ready: Callable[[Side], None] = field(default=lambda _: None, repr=False)

    @property
    def settings(self) -> Performance:
        """The environment's."""
        return self.environment.performance

    @property
    def workload(self) -> Workload:
        """The one that ``performance.workload`` names. Raises UnknownWorkload."""
        return self.called(self.settings.workload, "performance.workload")

    def called(self, name: str, where: str) -> Workload:
        """The workload that the setting ``where`` names. Raises UnknownWorkload."""
        known = self.environment.workloads
        if name not in known:
            raise UnknownWorkload(
                f"environment '{self.environment.name}' has no workload '{name}'",
                expected=f"one of {', '.join(known) or 'none'}",
                where=where,
                next_step="add it under workloads:",
            )
        return known[name]

    def put(self, name: str, workload: Workload, side: Side, *, repeat: int = 0) -> Result:
        """Put a workload on a side, and tell everybody what came of it."""
        self.make_room(side)
        result = self.bench.measure(name, workload, side, repeat=repeat, processes=self.settings.processes)
        self._publish(result)
        return result

    def make_room(self, side: Side) -> None:
        """Where sides share devices, stop the others and start this one."""
        if not self.take_turns:
            return
        running = {name for name, member in self.cluster.members.items() if member.alive}
        in_the_way = {name for one in self.sides.values() for name in one.members} & running - side.members
        if in_the_way:
            self.cluster.stop(in_the_way)
        missing = side.members - running
        if missing:
            self.bench.warm.discard(side.name)
            headline = f"starting {side.name} of {self.environment.name}"
            with start_up(self._request.config, self.cluster, headline) as watch:
                self.cluster.start(missing, watch=watch)
        self.ready(side)

    def exchanges(self, result: Result) -> Sequence[Exchange]:
        """What the client saw of a load."""
        return [*read_exchanges(self.bench.directory / result.label)]

    def runs(self) -> tuple[Result, ...]:
        """The environment's workload on prefill and decode, ``performance.runs`` times, once for all."""
        return self.side_by_side(PD)[PD]

    def side_by_side(self, *names: str) -> dict[str, tuple[Result, ...]]:
        """The same of several sides: see `in_turn`."""
        return self.in_turn(self.settings.workload, self.workload, names)

    def in_turn(self, load: str, workload: Workload, names: Sequence[str]) -> dict[str, tuple[Result, ...]]:
        """`performance.runs` runs on each side, ABBA: what drifts meanwhile does not favour one of them.

        What was measured for another test is not measured again.
        """
        key = self.environment.name, load
        missing = [name for name in names if (*key, name) not in self._known]
        found: dict[str, list[Result]] = {name: [] for name in missing}
        for repeat in range(self.settings.runs if missing else 0):
            for name in missing if repeat % 2 == 0 else reversed(missing):
                found[name] += self._until_valid(load, workload, self.sides[name], repeat)
        self._known.update({(*key, name): tuple(results) for name, results in found.items()})
        return {name: self._known[*key, name] for name in names}

    def _until_valid(self, load: str, workload: Workload, side: Side, repeat: int) -> Iterator[Result]:
        """One run of the workload, and again where it was bound by its client."""
        for _ in range(1 + self.settings.again):
            result = self.put(load, workload, side, repeat=repeat)
            yield result
            if result.client.valid:
                return

    def show(self, text: str) -> None:
        """On the terminal, while pytest captures output."""
        with released(self._request.config) as console:
            if console is not None:
                console.out(text)

    def tell(self, numbers: Mapping[str, float | None], file: str) -> None:
        """Numbers that are no single load's: an event, and properties of the test in junit.xml."""
        run = current_run(self._request.config)
        run.tell(
            LoadMeasured(
                environment=self.environment.name,
                test=self._request.node.nodeid,
                numbers=dict(numbers),
                file=file,
            )
        )
        # What the fixture `record_property` does, which warns that xunit2's schema has no place for them.
        self._request.node.user_properties.extend(numbers.items())

    def tell_sweep(self, sweep: RateSweep) -> None:
        """The knee, and what was tried on the way to it, in sweep-rates.json beside the loads."""
        numbers = {
            "knee_requests_per_s": sweep.knee.rate,
            "knee_broke_requests_per_s": sweep.knee.broke,
        }
        tried = [{"rate": rate, "label": result.label, "holds": holds} for rate, result, holds in sweep.steps]
        path = self.bench.directory / "sweep-rates.json"
        slo = sweep.slo.model_dump(exclude_none=True)
        path.write_text(
            json.dumps({**numbers, "slo": slo, "steps": tried}, indent=1) + "\n", encoding="utf-8"
        )
        self.tell(numbers, str(path.relative_to(current_run(self._request.config).directory)))

    def _publish(self, result: Result) -> None:
        measured = {one.name: one.value for one in result.measures}
        numbers = {f"{result.label}.{name}": measured[name] for name in report.SHOWN if name in measured}
        folder = self.bench.directory / result.label
        run = current_run(self._request.config)
        self.tell(numbers, str((folder / "result.json").relative_to(run.directory)))
        self.show(report.one_line(result))


@pytest.fixture(scope="session")
def pdtest_watch(cluster: Cluster) -> Iterator[Telemetry]:
    """What looks at devices and engines, from the first load on an environment to its end."""
    every_s = cluster.environment.performance.every_s
    with telemetry(settings_of(cluster.members.values(), every_s=every_s)) as watch:
        yield watch


@pytest.fixture(scope="session")
def pdtest_hire(cluster: Cluster) -> Iterator[Hire | None]:
    """What starts a process of the load's client on another host, if that is where it is sent from."""
    with hiring(cluster.environment) as hire:
        yield hire


@pytest.fixture
def loads(request: pytest.FixtureRequest, pdtest_record: TestRecord, contract: Contract) -> Iterator[Loads]:
    """Puts the environment's workloads on it, looks at devices and engines meanwhile, keeps the results.

    ``loads.runs()``: `performance.workload` on prefill and decode, `performance.runs` times, measured once
    for all tests that ask. ``loads.side_by_side(PD, SINGLE)``: also on the colocated instance, in turn.
    ``loads.put(name, workload, side)``: any workload. Each load is a folder under ``loads`` in the run's
    directory. Skips environments without `workloads`, or without a way to their prefill and decode.
    """
    cluster = pdtest_record.cluster
    environment = cluster.environment
    if not environment.workloads:
        pytest.skip(f"{environment.name} has no workloads")
    sides = sides_of(cluster, contract, resting=environment.performance.take_turns)
    if PD not in sides:
        pytest.skip(
            f"{environment.name} has no proxy, and a load's client cannot lead {contract.name} itself"
        )
    run = current_run(request.config)
    hire = request.getfixturevalue("pdtest_hire")
    bench = Bench(
        cluster=cluster,
        run=run.id,
        directory=run.directory / environment.name / "loads",
        watch=request.getfixturevalue("pdtest_watch"),
        read=lambda names: asyncio.run(_read(cluster, names)),
        vocab_size=vocab_size_of(environment),
        build=asyncio.run(_versions(cluster)),
        salt=f"{run.seed}:{run.id}",
        hire=hire,
    )
    used = Loads(
        environment=environment,
        contract=contract,
        cluster=cluster,
        sides=sides,
        bench=bench,
        _request=request,
        _known=request.config.stash.setdefault(MEASURED, {}),
        take_turns=environment.performance.take_turns,
    )
    try:
        yield used
    finally:
        used.make_room(sides[PD])


async def _read(cluster: Cluster, names: Collection[str]) -> Reading:
    async with httpx.AsyncClient(trust_env=False) as http:
        return await read_engines({name: endpoint_of(cluster, name, http) for name in names})


async def _versions(cluster: Cluster) -> dict[str, str]:
    """What each engine says that it is, those that say it."""
    engines = [name for name, one in cluster.members.items() if one.alive and one.role in ENGINE_ROLES]
    told = {}
    async with httpx.AsyncClient(trust_env=False) as http:
        for name in engines:
            with suppress(RequestFailed):
                told[name] = await endpoint_of(cluster, name, http).version()
    return {name: version for name, version in told.items() if version}
