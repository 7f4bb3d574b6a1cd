"""What was measured in runs, as commands name them: directories, names under .pdtest/runs, baselines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer
import yaml

from pdtest.compare.baselines import Baseline, Baselines, NoBaseline
from pdtest.environment.compare import Compare
from pdtest.errors import PdtestError
from pdtest.results import Result, read_results

_BASELINE: Final = "baseline:"

Home = Annotated[
    Path,
    typer.Option("--pdtest-dir", metavar="DIR", help="Where runs and baselines are kept."),
]


class NothingMeasured(PdtestError):
    """No such run, or one that put no load on anything."""

    title = "nothing measured"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Results under a name to be shown, and how their environments want them to be compared."""

    name: str
    results: tuple[Result, ...]
    settings: Mapping[str, Compare]

    def settings_of(self, environment: str) -> Compare:
        """Its own, or the defaults."""
        return self.settings.get(environment, Compare())


def measured(word: str, home: Path) -> Measured:
    """A run's directory, its name under ``<home>/runs``, or ``baseline:NAME``.

    Raises NothingMeasured, NoBaseline and BaselineUnreadable.
    """
    if word.startswith(_BASELINE):
        return _kept(word.removeprefix(_BASELINE), home)
    places = (Path(word), home / "runs" / word)
    run = next((place.resolve() for place in places if place.is_dir()), None)
    results = tuple(result for _, result in read_results(run)) if run else ()
    if run is None or not results:
        raise NothingMeasured(
            f"{word} has no results of a load",
            expected="a run's directory, its name, or baseline:NAME",
            seen="no such directory" if run is None else "no result.json in it",
            where=str(run or home / "runs"),
            next_step="pytest suites/performance --env NAME   measures",
        )
    return Measured(name=run.name, results=results, settings=_settings(run))


def baselines(home: Path) -> Baselines:
    """Those of a project."""
    return Baselines(directory=home / "baselines")


def named(name: str, home: Path) -> tuple[Baseline, ...]:
    """All baselines of a name. Raises NoBaseline and BaselineUnreadable."""
    found = baselines(home).named(name)
    if not found:
        raise no_baseline(name, home)
    return found


def no_baseline(name: str, home: Path) -> NoBaseline:
    """The error for a name that nothing has."""
    return NoBaseline(
        f"there is no baseline '{name}'",
        where=str(home / "baselines"),
        next_step="pdtest baseline list   shows what there is",
    )


def _kept(name: str, home: Path) -> Measured:
    found = named(name, home)
    results = tuple(result for baseline in found for result in baseline.results)
    return Measured(name=name, results=results, settings={})


def _settings(run: Path) -> dict[str, Compare]:
    """``compare:`` of the environments as they were used."""
    found = {}
    for file in run.glob("*/environment.resolved.yaml"):
        told: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
        found[file.parent.name] = Compare.model_validate(told.get("compare") or {})
    return found
