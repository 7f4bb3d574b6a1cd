"""`pytest -n`: xdist's workers share one run, and the clusters of it.

The controller stands for the run and runs no test. Clusters are kept by processes that end with it
(`pdtest.keeper`); workers find them in the run's directory, and the first that needs one starts it. Tests
whose verdicts rest on counters would disturb each other: those of one environment stay together on one
worker, which ends the cluster when they are over, and each has it alone while it runs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import pytest

from pdtest.events import Journal, read
from pdtest.events.fault import Recovered
from pdtest.events.record import Event
from pdtest.keeper import FOLDER, Standing
from pdtest.plugin import outcomes
from pdtest.plugin.directories import directory_of, home, new_id
from pdtest.plugin.onlooker import Onlooker
from pdtest.plugin.stash import SELECTION
from pdtest.whole import write_whole

_INPUT: Final = "pdtest"
#: How xdist hands tests out where nobody said how.
_ITS_CHOICE: Final = "load"
_GROUPS: Final = "groups.json"


@dataclass(frozen=True, kw_only=True)
class Worker:
    """One of xdist's workers.

    ``name``: as xdist calls it. ``run`` is the run's id, ``seed`` its seed, ``controller`` a pid. ``apart``:
    all tests of an environment are on one worker.
    """

    name: str
    run: str
    seed: str
    controller: int
    apart: bool

    @classmethod
    def of(cls, config: pytest.Config) -> Self | None:
        """None in a process that is no worker."""
        given: Mapping[str, Any] | None = getattr(config, "workerinput", None)
        return None if given is None else cls(name=given["workerid"], **given[_INPUT])


def is_controller(config: pytest.Config) -> bool:
    """The process that has workers."""
    return Worker.of(config) is None and bool(
        config.getoption("dist", "no") != "no" and config.getoption("tx", None)
    )


def tell_groups(groups: Mapping[str, str], directory: Path) -> None:
    """Called in each worker once it has collected; ``groups`` by the ids of tests."""
    write_whole(directory / _GROUPS, json.dumps(groups))


def read_groups(directory: Path) -> Mapping[str, str]:
    """What workers have told; all have told the same. Empty where no test has a cluster."""
    try:
        groups: Mapping[str, str] = json.loads((directory / _GROUPS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    (directory / _GROUPS).unlink()
    return groups


class Foreman:
    """The controller's part: gives the run its name, ends its clusters, puts together what workers wrote."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._run = new_id()
        self.directory = directory_of(config, self._run)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker of the run (a hook of xdist's)."""
        node.workerinput[_INPUT] = {
            "run": self._run,
            # Made up here, where nobody gave one: workers have only what was typed.
            "seed": self._config.getoption("pdtest_seed"),
            "controller": os.getpid(),
            "apart": self._config.getoption("dist") == _ITS_CHOICE,
        }

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> object | None:
        """Ours, unless somebody chose another way."""
        if config.getoption("dist") != _ITS_CHOICE:
            return None
        from pdtest.plugin.schedule import ByEnvironment

        return ByEnvironment(config, log, lambda: read_groups(self.directory))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        """While workers work, show what they start."""
        with Onlooker(self._config, self._places()):
            return (yield)

    def _places(self) -> list[Path]:
        """Where keepers of the environments' clusters may be: the run's own, and those that stand."""
        homes = [self.directory]
        if not self._config.getoption("fresh"):
            homes.append(home(self._config) / FOLDER)
        return [folder / name for folder in homes for name in self._config.stash[SELECTION].names]

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self) -> Generator[None, None, None]:
        """Whatever happened. After xdist has ended its workers, before the terminal's summary."""
        try:
            return (yield)
        finally:
            if self.directory.is_dir():
                end_clusters(self.directory)
                gather(self.directory)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """What a run without workers says at its end."""
        if not self.directory.is_dir():
            return
        outcomes.summarize_recoveries(terminalreporter, _recoveries(self.directory))
        seed = self._config.getoption("pdtest_seed")
        terminalreporter.line(f"pdtest: seed {seed}, run directory {self.directory}")


def events_file(worker: Worker | None) -> str:
    """A worker writes a journal of its own: what its tests did is then found without looking at others'."""
    return "events.jsonl" if worker is None else f"events-{worker.name}.jsonl"


def verdicts_file(worker: Worker | None) -> str:
    """The same of verdicts."""
    return "verdicts.json" if worker is None else f"verdicts-{worker.name}.json"


def end_clusters(directory: Path) -> None:
    """End what workers have left in the run's directory. In the controller, when all tests are over."""
    for standing in filter(None, map(Standing.read, _directories(directory))):
        standing.end()


def gather(directory: Path) -> None:
    """One journal of all workers' events in the order of their times, and one list of verdicts."""
    own = sorted(directory.glob("events-*.jsonl"))
    # A keeper has also what happened before any worker heard of it, and after all had gone.
    journals = (*own, *sorted(directory.glob("*/events.jsonl")))
    events: list[Event] = sorted(
        (event for path in journals for event in read(path)), key=lambda event: event.at
    )
    journal = Journal(directory / "events.jsonl")
    seen: set[str] = set()
    for event in events:
        # What happened to a member is told to all workers.
        line = json.dumps(event.to_json(), sort_keys=True)
        if line not in seen:
            seen.add(line)
            journal.append(event)
    journal.close()
    verdicts = [
        one for path in sorted(directory.glob("verdicts-*.json")) for one in json.loads(path.read_text())
    ]
    (directory / "verdicts.json").write_text(json.dumps(verdicts, indent=1) + "\n", encoding="utf-8")
    for path in (*own, *directory.glob("verdicts-*.json")):
        path.unlink()


def _directories(directory: Path) -> Iterator[Path]:
    with suppress(FileNotFoundError):
        yield from (path for path in directory.iterdir() if path.is_dir())


def _recoveries(directory: Path) -> list[Recovered]:
    events = read(directory / "events.jsonl", kind=Recovered)
    return [event for event in events if isinstance(event, Recovered)]
