"""`--mutants`: the suites on one cluster with one planted bug after the other; a kill table."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from _pytest.terminal import TerminalReporter
from anyio.from_thread import start_blocking_portal

from pdtest.client.endpoints import endpoint_of
from pdtest.cluster.cluster import Cluster
from pdtest.environment.schema import ENGINE_ROLES, Environment, Member, Planting, Role
from pdtest.errors import PdtestError
from pdtest.kills.catalogue import chosen
from pdtest.kills.mutant import Mutant, Place
from pdtest.kills.params import MutatedContract
from pdtest.kills.table import Cell, KillTable, Outcome
from pdtest.oracle.quiet import seek_quiet
from pdtest.oracle.verdict import Ruling
from pdtest.plugin.outcomes import ON_MUTANT
from pdtest.plugin.record import TestRecord
from pdtest.plugin.selection import Selection
from pdtest.plugin.stash import RECORD, SELECTION
from pdtest.plugin.wanted import environment_of
from pdtest.report.kill_picture import picture
from pdtest.report.kills import kill_table
from pdtest.services.mutant_gateway import LIFE_SWITCH, SWITCH, MutantGatewayService
from pdtest.whole import write_whole
from pdtest.wire.contract import Contract
from pdtest.wire.registry import contract_for

HEALTHY = "healthy"
#: The parameter that says which mutant a test runs on.
AXIS = "mutant"
#: The suite that asks who serves a request, and the file that says how a router decides otherwise.
_ROUTING = "routing"
ROUTING_SWITCH = "routing.switch"
#: Parts of the names of tests that take long: tried last.
_LONG = ("two_hundred", "sentence_and", "holds_blocks", "tampered")
#: Parts of the names of tests that notice much with few requests: tried before the others.
_SHORT = ("same_prompt", "streaming", "together")
_PROXY_ROUTE = "proxy"


@dataclass
class Killing:
    """What is planted at the moment, and what became of each mutant. None is planted at first."""

    mutants: tuple[Mutant, ...]
    #: Where the table's JSON goes, and its picture beside it, apart from the run's directory.
    files: tuple[Path, ...] = ()
    table: KillTable | None = None
    began: float = field(default_factory=time.monotonic)
    _armed: str = HEALTHY
    _contract: Contract | None = None
    _started: dict[tuple[str, str], float] = field(default_factory=dict)

    @classmethod
    def asked_for(cls, config: pytest.Config) -> Killing | None:
        """As --mutants says; None without it. Raises pytest.UsageError.

        Without -k the tests are those that the environment names.
        """
        given: str | None = config.getoption("mutants")
        if given is None:
            return None
        selection = config.stash[SELECTION]
        usual = selection.environment(selection.names[0]).mutants if selection.names else Planting()
        config.option.keyword = config.option.keyword or usual.tests
        try:
            mutants = chosen(filter(None, given.split(",")), usual.only)
        except PdtestError as error:
            raise pytest.UsageError(str(error)) from error
        file: str | None = config.getoption("kill_table")
        return cls(mutants=mutants, files=(Path(file),) if file else ())

    def parametrize(self, metafunc: pytest.Metafunc) -> None:
        """Each test of a cluster with each mutant, healthy first."""
        if "cluster" not in metafunc.fixturenames:
            return
        metafunc.fixturenames.append(AXIS)
        metafunc.parametrize(AXIS, [HEALTHY, *(mutant.name for mutant in self.mutants)])

    def arrange(self, items: list[pytest.Item], selection: Selection) -> None:
        """Keep what can notice its mutant: one mutant after the other, the likeliest tests first.

        Raises pytest.UsageError unless there is one environment.
        """
        names = {name for item in items if (name := environment_of(item)) is not None}
        if len(names) != 1:
            raise pytest.UsageError(f"--mutants needs one environment, not {len(names)}; pass --env NAME")
        environment = selection.environment(*names)
        absent = {one: why for one in self.mutants if (why := obstacle(one, environment)) is not None}
        self.mutants = tuple(one for one in self.mutants if one not in absent)
        known = {mutant.name: mutant for mutant in self.mutants}
        turns = {name: turn for turn, name in enumerate([HEALTHY, *known])}
        items[:] = [item for item in items if environment_of(item) and _can_notice(item, known)]
        suites = list(dict.fromkeys(map(suite_of, items)))
        self.table = KillTable(environment=environment.name, mutants=self.mutants, suites=suites)
        self.table.absent = {one.name: why for one, why in absent.items()}

        def turn(item: pytest.Item) -> tuple[int, int, int]:
            name = mutant_of(item) or HEALTHY
            return turns[name], suites.index(suite_of(item)), _rank(item, known.get(name))

        items.sort(key=turn)

    def is_over(self, item: pytest.Item) -> bool:
        """Whether its mutant is dead in its suite already."""
        if self.table is None:
            return False
        cell = self.table.cells.get((mutant_of(item) or HEALTHY, suite_of(item)))
        return cell is not None and cell.outcome is Outcome.KILLED

    def plant(self, item: pytest.Item, cluster: Cluster) -> None:
        """See to it that the item's mutant is there, and no other one."""
        name = mutant_of(item) or HEALTHY
        if name != self._armed:
            for switch in _switches(cluster.environment):
                _write(cluster, switch, "")
            if self._armed != HEALTHY:
                _rest(cluster)
            mutant = next((one for one in self.mutants if one.name == name), None)
            self._contract = None
            if mutant is not None and mutant.place is Place.PARAMS:
                inner = contract_for(cluster.environment.connector.contract)
                self._contract = MutatedContract.of(inner, mutant.switch)
            elif mutant is not None:
                for switch in _switches(cluster.environment):
                    if switch.plants(mutant):
                        _write(cluster, switch, mutant.switch)
            self._armed = name
        self._started.setdefault((name, suite_of(item)), time.monotonic())

    def contract(self, inner: Contract) -> Contract:
        """What tests take for the contract."""
        return self._contract or inner

    def note(self, item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
        """Keep what a finished phase of a test says of its mutant, which is no failure of ours."""
        name, suite = mutant_of(item), suite_of(item)
        if self.table is None or name is None:
            return
        if name == HEALTHY:
            if report.failed:
                self.table.false_alarms.append(f"{item.nodeid} ({report.when})")
            return
        outcome = _outcome(call, report)
        if report.failed or (name, suite) not in self.table.cells:
            self.table.cells[name, suite] = Cell(
                outcome=outcome,
                test=item.nodeid if report.failed else "",
                seconds=time.monotonic() - self._started.get((name, suite), time.monotonic()),
                located=_located(report, item.stash.get(RECORD, None)) if report.failed else "",
            )
        if report.failed:
            report.outcome = "passed"
            report.pdtest_outcome = ON_MUTANT[outcome]  # type: ignore[attr-defined]

    @property
    def clean(self) -> bool:
        """Each mutant was noticed, and nothing else."""
        return self.table is not None and self.table.clean

    def summarize(self, reporter: TerminalReporter, directory: Path) -> None:
        """Print the table, and keep it in the run's directory with its JSON and its picture."""
        if self.table is None:
            return
        self.table.took_s = time.monotonic() - self.began
        text, data = kill_table(self.table), json.dumps(self.table.as_json(), indent=2)
        (directory / "kills.txt").write_text(text + "\n", encoding="utf-8")
        for file in (directory / "kills.json", *self.files):
            file.write_text(data + "\n", encoding="utf-8")
            picture(self.table, file.with_suffix(".png"))
        reporter.section("kill table", bold=True)
        for line in text.splitlines():
            reporter.line(line)


def _outcome(call: pytest.CallInfo[None], report: pytest.TestReport) -> Outcome:
    if not report.failed:
        return Outcome.SURVIVED
    # Only what a test or its verdict says notices a bug; anything else is trouble of our own.
    error = call.excinfo.value if call.excinfo else None
    if report.when != "call" or not isinstance(error, PdtestError | AssertionError):
        return Outcome.BROKEN
    return Outcome.OPEN if hasattr(report, "pdtest_outcome") else Outcome.KILLED


def mutant_of(item: pytest.Item) -> str | None:
    """The mutant a test runs on; None without --mutants."""
    return _parameters(item).get(AXIS)


def _parameters(item: pytest.Item) -> Mapping[str, Any]:
    callspec = getattr(item, "callspec", None)
    return callspec.params if callspec is not None else {}


def planted(item: pytest.Item) -> bool:
    """Whether a bug is planted under this test: its failures say nothing of what is tested."""
    return mutant_of(item) not in {None, HEALTHY}


def suite_of(item: pytest.Item) -> str:
    """The folder of its file."""
    return item.path.parent.name


def obstacle(mutant: Mutant, environment: Environment) -> str | None:
    """Why an environment cannot have a mutant; None where it can."""
    if mutant.place is Place.PARAMS:
        return contract_for(environment.connector.contract).obstacle
    if any(switch.plants(mutant) for switch in _switches(environment)):
        return None
    return {
        Place.KV: f"decode has no fault-transfer @.../{SWITCH}",
        Place.LIFE: f"{mutant.role} has no fault-lifetime @.../{LIFE_SWITCH}",
        Place.PROXY: f"no proxy has a {MutantGatewayService.name} around it",
        Place.ROUTING: f"no proxy has fault-routing @.../{ROUTING_SWITCH}",
    }[mutant.place]


@dataclass(frozen=True, kw_only=True)
class _Switch:
    """A file in a member's directory that says which bug it has."""

    place: Place
    member: str
    role: Role
    file: str

    def plants(self, mutant: Mutant) -> bool:
        """Whether it is this mutant's."""
        return self.place is mutant.place and mutant.role in {"", self.role}


def _switches(environment: Environment) -> Iterator[_Switch]:
    for name, member in environment.members.items():
        own = partial(_Switch, member=name, role=member.role)
        if member.service == MutantGatewayService.name:
            yield own(place=Place.PROXY, file=SWITCH)
        if member.role is Role.DECODE and _fault_transfer(environment, member).endswith(SWITCH):
            yield own(place=Place.KV, file=SWITCH)
        if str(member.args.get("fault-lifetime", "")).endswith(LIFE_SWITCH):
            yield own(place=Place.LIFE, file=LIFE_SWITCH)
        if str(member.args.get("fault-routing", "")).endswith(ROUTING_SWITCH):
            yield own(place=Place.ROUTING, file=ROUTING_SWITCH)


def _fault_transfer(environment: Environment, decode: Member) -> str:
    """The embedded engine's flag; with vLLM, what its connector is told (pdtest/mutants/connector.py)."""
    if "fault-transfer" in decode.args:
        return str(decode.args["fault-transfer"])
    shared = environment.connector
    told: dict[str, Any] = {}
    for layer in (shared.config, shared.by_role.get(Role.DECODE, {}), decode.connector):
        told |= layer.get("kv_connector_extra_config") or {}
    return str(told.get("fault_transfer", ""))


def _can_notice(item: pytest.Item, known: Mapping[str, Mutant]) -> bool:
    name = mutant_of(item)
    if name in {None, HEALTHY}:
        return True
    if name not in known or suite_of(item) in known[name].unseen:
        return False
    route = _parameters(item).get("route")
    by_proxy = route is not None and str(route) == _PROXY_ROUTE
    can = {Place.PARAMS: not by_proxy, Place.PROXY: by_proxy, Place.ROUTING: suite_of(item) == _ROUTING}
    return can.get(known[name].place, True)


def _rank(item: pytest.Item, mutant: Mutant | None) -> int:
    known = _own_name(item)
    if mutant is not None and mutant.first and mutant.first in known:
        return 0
    if any(part in known for part in _LONG):
        return 3
    return 1 if any(part in known for part in _SHORT) else 2


def _own_name(item: pytest.Item) -> str:
    """File, function and parameters, but for the environment and the mutant."""
    own = [str(value) for name, value in _parameters(item).items() if name not in {AXIS, "cluster"}]
    return " ".join([item.nodeid.partition("[")[0], *own])


def _write(cluster: Cluster, switch: _Switch, text: str) -> None:
    write_whole(cluster.members[switch.member].directory / switch.file, text)


def _rest(cluster: Cluster) -> None:
    """What a mutant has left behind must not be blamed on the next: wait until engines are idle."""

    async def idle() -> None:
        async with httpx.AsyncClient(trust_env=False) as http:
            engines = {
                name: endpoint_of(cluster, name, http)
                for name, member in cluster.members.items()
                if member.role in ENGINE_ROLES and member.alive
            }
            await seek_quiet(engines, cluster.environment.thresholds.release_s)

    with start_blocking_portal() as portal:
        portal.call(idle)


def _located(report: pytest.TestReport, record: TestRecord | None) -> str:
    """What the verdict said, else the error."""
    return next(_words(report, record), "")


def _words(report: pytest.TestReport, record: TestRecord | None) -> Iterator[str]:
    for verdict in reversed(record.verdicts if record else []):
        if verdict.ruling is Ruling.FAIL:
            # Where the KV is wrong says more than which token came of it, and the text is cut short.
            telling = sorted(verdict.decisive, key=lambda finding: finding.check != "x-ray")
            yield "; ".join(f"{finding.check}: {finding.text}" for finding in telling)[:400]
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is not None:
        yield str(crash.message).partition("\n")[0][:400]
    yield str(report.longreprtext).strip().rpartition("\n")[2][:400]
