"""Which environments the tests run on."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from pdtest.client.handoff import Route
from pdtest.cluster.requirements import unmet
from pdtest.cluster.vocabulary import vocabulary
from pdtest.environment.catalogue import Catalogue, default_directories
from pdtest.environment.schema import Environment, ReferenceKind, Role
from pdtest.errors import PdtestError
from pdtest.wire.registry import contract_for

#: Arguments of a test that take their values from the environment it runs on.
Axis = Callable[[Environment], Sequence[Any]]


def _routes(environment: Environment) -> Sequence[Route]:
    return (Route.CLIENT, Route.PROXY) if environment.members_with(Role.PROXY) else (Route.CLIENT,)


def _tampers(environment: Environment) -> Sequence[str]:
    return [tamper.name for tamper in contract_for(environment.connector.contract).tampers]


AXES: dict[str, Axis] = {"route": _routes, "tamper": _tampers}


@dataclass
class Selection:
    """The environments of this invocation, loaded once, and whether they can run here."""

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

    def require(self) -> None:
        """Load all. Raises pytest.UsageError, which ends pytest before it collects anything."""
        for name in self.names:
            try:
                self.environment(name)
            except pytest.Collector.CollectError as error:
                raise pytest.UsageError(str(error)) from error

    def unschedulable(self, name: str) -> tuple[str, ...]:
        """Why it cannot run on this machine; empty when it can."""
        if name not in self._reasons:
            self._reasons[name] = unmet(self.environment(name))
        return self._reasons[name]

    @property
    def recorded(self) -> bool:
        """True when references are recorded: prompts must then be the same in every run."""
        return any(
            self.environment(name).reference.kind is ReferenceKind.RECORDED
            for name in self.names
            if name in self.catalogue.names()
        )

    def parametrize(self, metafunc: pytest.Metafunc) -> None:
        """Give a test that uses `cluster` one instance per environment, with the environment's marks."""
        if "cluster" not in metafunc.fixturenames:
            return
        axes = [axis for axis in AXES if axis in metafunc.fixturenames]
        parameters = [
            pytest.param(name, *values, id="-".join([name, *map(str, values)]), marks=self._marks(name))
            for name in self.names
            for values in itertools.product(*(AXES[axis](self.environment(name)) for axis in axes))
        ]
        metafunc.parametrize(["cluster", *axes], parameters, indirect=["cluster"], scope="session")

    def _marks(self, name: str) -> list[pytest.MarkDecorator]:
        return [getattr(pytest.mark, mark) for mark in self.environment(name).marks]


def select(config: pytest.Config) -> Selection:
    """The environments that --env names, else those whose marks -m mentions, else the default one."""
    rootdir = config.rootpath
    directories = (*config.getini("pdtest_environments"), *default_directories(rootdir))
    catalogue = Catalogue(directories=directories, vocabulary=vocabulary())
    named: list[str] = config.getoption("env")
    if named:
        selection = Selection(catalogue=catalogue, names=tuple(dict.fromkeys(named)))
        selection.require()
        return selection
    mentioned = set(re.findall(r"\w+", config.getoption("markexpr") or ""))
    if mentioned:
        everything = Selection(catalogue=catalogue, names=catalogue.names())
        matching = tuple(_with_marks(everything, mentioned))
        if matching:
            return Selection(catalogue=catalogue, names=matching)
    return Selection(catalogue=catalogue, names=(config.getini("pdtest_default_env"),))


def all_marks(catalogue: Catalogue) -> frozenset[str]:
    """Every mark of every environment that loads. Broken files speak up when they are selected."""
    marks: set[str] = set()
    for name in catalogue.names():
        try:
            marks.update(catalogue.load(name).marks)
        except PdtestError:
            continue
    return frozenset(marks)


def _with_marks(selection: Selection, mentioned: set[str]) -> Iterator[str]:
    for name in selection.names:
        try:
            environment = selection.catalogue.load(name)
        except PdtestError:
            continue
        if mentioned & set(environment.marks):
            yield name
