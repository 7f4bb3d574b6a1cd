"""Which environments the tests run on."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from _pytest.mark.structures import ParameterSet

from pdtest.client.handoff import Route
from pdtest.cluster.requirements import unmet
from pdtest.cluster.vocabulary import vocabulary
from pdtest.environment.catalogue import Catalogue, default_directories
from pdtest.environment.schema import Environment, ReferenceKind, Role
from pdtest.errors import PdtestError
from pdtest.faults.cases import cases_of
from pdtest.plugin.markexpr import asked_for
from pdtest.services.pool import PoolService
from pdtest.services.registry import services
from pdtest.wire.registry import contract_for

#: Arguments of a test that take their values from the environment it runs on.
Axis = Callable[[Environment], Sequence[Any]]


def _routes(environment: Environment) -> Sequence[Route]:
    contract = contract_for(environment.connector.contract)
    routes = [Route.CLIENT] if contract.obstacle is None else []
    if environment.members_with(Role.PROXY):
        routes.append(Route.PROXY)
    if not routes:
        raise pytest.Collector.CollectError(
            f"environment '{environment.name}' has no proxy, and its contract {contract.name} needs one: "
            f"{contract.obstacle}\n  next     add a member with role: proxy"
        )
    return routes


def _tampers(environment: Environment) -> Sequence[str]:
    return [tamper.name for tamper in contract_for(environment.connector.contract).tampers]


AXES: dict[str, Axis] = {"case": cases_of, "route": _routes, "tamper": _tampers}


#: Fixtures that make sense only where there are engines, and those only where there is a store.
NEED_ENGINES = frozenset(
    {
        *("asked", "bounds", "colocated", "contract", "decode", "engines", "gallery", "handoff", "judge"),
        *("loads", "oracle", "prefill", "prompts", "proxy", "quiet", *AXES),
    }
)
NEED_STORE = frozenset({"store"})


def _lacks(environment: Environment, fixtures: Container[str]) -> str | None:
    """What a test with these ``fixtures`` misses in an environment; None where it can run."""
    if environment.only_stores and any(name in fixtures for name in NEED_ENGINES):
        return "has no engines"
    if any(name in fixtures for name in NEED_STORE) and pool_member(environment) is None:
        return "has no member with role: store that clients can be made for"
    return None


def pool_member(environment: Environment) -> str | None:
    """The store that tests have clients of: the first whose service makes some. None without any."""
    for name, member in environment.members_with(Role.STORE).items():
        service: object = services().get(member.service)
        if isinstance(service, PoolService) and service.makes_clients(member):
            return name
    return None


@dataclass
class Selection:
    """The environments of this invocation, loaded once, and whether they can run here.

    ``names`` are those that environments have, also where a file was given.
    """

    catalogue: Catalogue
    names: tuple[str, ...]
    _loaded: dict[str, Environment] = field(default_factory=dict)
    _reasons: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def environment(self, name: str) -> Environment:
        """The environment of that name. Raises CollectError with everything wrong in its file."""
        if name not in self._loaded:
            try:
                self._loaded[name] = self.catalogue.load(name)
            except PdtestError as error:
                raise pytest.Collector.CollectError(str(error)) from error
        return self._loaded[name]

    @classmethod
    def of(cls, catalogue: Catalogue, given: Iterable[str]) -> Selection:
        """The environments of these names and files, loaded at once.

        Raises pytest.UsageError, which ends pytest before it collects anything.
        """
        try:
            loaded = {environment.name: environment for environment in map(catalogue.load, given)}
        except PdtestError as error:
            raise pytest.UsageError(str(error)) from error
        return cls(catalogue=catalogue, names=tuple(loaded), _loaded=loaded)

    def marks(self) -> frozenset[str]:
        """Those of all environments that can be named, and of the files that were given."""
        catalogued = map(self.catalogue.marks, self.catalogue.names())
        given = (frozenset(environment.marks) for environment in self._loaded.values())
        return frozenset().union(*catalogued, *given)

    def unschedulable(self, name: str) -> tuple[str, ...]:
        """Why it cannot run on this machine; empty when it can."""
        if name not in self._reasons:
            self._reasons[name] = unmet(self.environment(name))
        return self._reasons[name]

    @property
    def recorded(self) -> bool:
        """True when references are recorded: prompts must then be the same in every run."""
        return any(map(self._is_recorded, self.names))

    def parametrize(self, metafunc: pytest.Metafunc) -> None:
        """Give a test that uses `cluster` one instance per environment, with the environment's marks."""
        if "cluster" not in metafunc.fixturenames:
            return
        if not self.names:
            raise pytest.Collector.CollectError(
                "no environment was chosen for the tests that use a cluster\n"
                f"  known    {', '.join(self.catalogue.names()) or 'none'}\n"
                "  next     pass --env NAME, or set pdtest_default_env in the ini file"
            )
        axes = [axis for axis in AXES if axis in metafunc.fixturenames]
        lacks = {name: _lacks(self.environment(name), metafunc.fixturenames) for name in self.names}
        if all(lacks.values()):
            parameters = [self._skipped(name, axes, f"{name} {lack}") for name, lack in lacks.items()]
        else:
            able = (name for name, lack in lacks.items() if lack is None)
            parameters = [parameter for name in able for parameter in self._parameters(name, axes)]
        metafunc.parametrize(["cluster", *axes], parameters, indirect=["cluster"], scope="session")

    def _parameters(self, name: str, axes: Sequence[str]) -> Iterator[ParameterSet]:
        """All combinations of what the axes have for an environment; a skipped test where one has nothing."""
        environment, marks = self.environment(name), self._marks(name)
        values = {axis: AXES[axis](environment) for axis in axes}
        for axis in axes:
            if not values[axis]:
                reason = f"{'+'.join(environment.connector.contract)} has no {axis}"
                yield self._skipped(name, axes, reason)
                return
        for chosen in itertools.product(*values.values()):
            yield pytest.param(name, *chosen, id="-".join([name, *map(str, chosen)]), marks=marks)

    def _skipped(self, name: str, axes: Sequence[str], reason: str) -> ParameterSet:
        marks = [*self._marks(name), pytest.mark.skip(reason=reason)]
        return pytest.param(name, *[None] * len(axes), id=name, marks=marks)

    def _is_recorded(self, name: str) -> bool:
        try:
            return self.environment(name).reference.kind is ReferenceKind.RECORDED
        except pytest.Collector.CollectError:  # tests that use it will say so
            return False

    def _marks(self, name: str) -> list[pytest.MarkDecorator]:
        return [getattr(pytest.mark, mark) for mark in self.environment(name).marks]


def select(config: pytest.Config) -> Selection:
    """The environments that --env names, else those whose marks -m asks for, else the default one.

    Raises pytest.UsageError when one of the first two kinds cannot be loaded.
    """
    rootdir = config.rootpath
    directories = (*config.getini("pdtest_environments"), *default_directories(rootdir))
    catalogue = Catalogue(directories=directories, vocabulary=vocabulary())
    named: list[str] = config.getoption("env")
    expression: str = config.getoption("markexpr") or ""
    if not named and expression:
        named = [name for name in catalogue.names() if asked_for(expression, catalogue.marks(name))]
    if named:
        return Selection.of(catalogue, named)
    default: str = config.getini("pdtest_default_env")
    return Selection(catalogue=catalogue, names=(default,) if default else ())
