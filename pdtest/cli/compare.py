"""`pdtest compare`: is a run slower than another one, or is it noise."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Final

import typer

from pdtest.cli.runs import Home, Measured, NothingMeasured, measured
from pdtest.cli.terminal import USAGE, show_error
from pdtest.compare import Comparison, Verdict, compare
from pdtest.compare.series import Series, in_series
from pdtest.compare.verdict import of_all
from pdtest.errors import PdtestError
from pdtest.report.comparison import markdown, table

#: Nothing can be said: neither that it is as good, nor that it is worse.
OPEN: Final = 3
_EXIT: Final = {
    Verdict.PASS: 0,
    Verdict.IMPROVED: 0,
    Verdict.FAIL: 1,
    Verdict.INCONCLUSIVE: OPEN,
    Verdict.INVALID: OPEN,
}


def compare_runs(  # noqa: PLR0913 - a command's options
    old: Annotated[str, typer.Argument(metavar="OLD", help="A run, or baseline:NAME.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The run that is to be no worse.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: all of it.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="For a pull request.")] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Also measures that are not judged, and loads that ran once.")
    ] = False,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Give verdicts although the conditions differ.")
    ] = False,
    home: Home = Path(".pdtest"),
) -> None:
    """Hold the loads of a run against the same ones of another run, or of a baseline.

    A run is its directory, or its name under .pdtest/runs. The repeats of a load are the sample: measure
    each five times or more (performance.runs). What is tolerated is said by compare: in the environment.

    Exit code 0: no worse. 1: worse. 2: misused, or there is nothing to compare. 3: it cannot be told, or
    the client was the bottleneck.

    Example: [bold]pdtest compare 20261120-020000-1a2b3c latest --markdown[/]
    """
    if as_json and as_markdown:
        raise typer.BadParameter("--json and --markdown are two ways of writing: choose one")
    try:
        found = [*_comparisons(measured(old, home), measured(new, home), anyway=anyway)]
    except PdtestError as error:
        show_error(error)
        # Not 1, which says that it got worse.
        raise typer.Exit(USAGE) from error
    shown = [one for one in found if everything or not _once(one)] or found
    verdict = of_all(one.verdict for one in shown)
    if as_json:
        rows = [one.model_dump(mode="json") for one in found]
        typer.echo(json.dumps({"verdict": verdict, "comparisons": rows}, indent=1))
    elif as_markdown:
        typer.echo("\n".join(map(markdown, shown)))
    else:
        typer.echo("\n\n".join(table(one, everything=everything) for one in shown))
        if len(shown) < len(found):
            typer.echo(
                f"\nmeasured once, not judged: {', '.join(one.workload for one in found if _once(one))}"
            )
    raise typer.Exit(_EXIT[verdict])


def _comparisons(old: Measured, new: Measured, *, anyway: bool) -> Iterator[Comparison]:
    """Of all loads that both have. Raises NothingMeasured where there is none."""
    before, after = in_series(old.results), in_series(new.results)
    common = [series for series in after if series in before]
    if not common:
        raise NothingMeasured(
            "the two have no load in common",
            expected="the same environment, target and workload in both",
            seen=f"{old.name}: {_names(before)}\n{new.name}: {_names(after)}",
        )
    for series in common:
        yield compare(
            before[series],
            after[series],
            new.settings_of(series.environment),
            names=(old.name, new.name),
            same_conditions=not anyway,
        )


def _once(comparison: Comparison) -> bool:
    """Steps of sweeps are measured once: they are looked at, not compared."""
    return any(side.runs + side.invalid == 1 for side in (comparison.old, comparison.new))


def _names(known: Iterable[Series]) -> str:
    return ", ".join(f"{series.environment}/{series.target}/{series.workload}" for series in known)
