"""`pdtest baseline`: runs that later ones are held against."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from pdtest.cli.runs import Home, baselines, measured, named, no_baseline
from pdtest.cli.terminal import Guarded, output
from pdtest.compare.baselines import Baseline
from pdtest.results.amount import counted

app = typer.Typer(
    cls=Guarded,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help=(
        "Runs that later ones are held against: list, show, set, remove.\n\n"
        "Kept in .pdtest/baselines, by what they were measured on and with; pytest --baseline NAME compares."
    ),
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The baseline's name.")]


@app.command("list")
def list_baselines(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: a JSON list.")] = False,
    home: Home = Path(".pdtest"),
) -> None:
    """List the baselines: what each was measured on, when, how often.

    Example: [bold]pdtest baseline list[/]
    """
    found = [*baselines(home).all()]
    if as_json:
        typer.echo(json.dumps([_row(baseline) for baseline in found], indent=2))
        return
    if not found:
        typer.echo(f"no baselines in {home / 'baselines'}")
        return
    table = Table("name", "environment", "target", "load", "runs", "saved", "fingerprint", box=None)
    for baseline in found:
        row = _row(baseline)
        saved = time.strftime("%Y-%m-%d %H:%M", time.localtime(baseline.saved_unix_s))
        table.add_row(
            *(str(row[key]) for key in ("name", "environment", "target", "load", "runs")),
            saved,
            baseline.fingerprint,
        )
    output().print(table)


@app.command()
def show(name: Name, *, home: Home = Path(".pdtest")) -> None:
    """Print the baselines of a name as JSON: results, conditions, builds.

    Example: [bold]pdtest baseline show nightly | jq '.[].results[0].build'[/]
    """
    found = named(name, home)
    typer.echo(json.dumps([baseline.model_dump(mode="json") for baseline in found], indent=1))


@app.command("set")
def set_baseline(
    name: Name,
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs, by directory or name.")],
    *,
    add: Annotated[bool, typer.Option("--add", help="Beside what it has, not instead of it.")] = False,
    home: Home = Path(".pdtest"),
) -> None:
    """Keep what runs have measured as a baseline; one of the same name and conditions is replaced.

    Several runs are taken together: with several nights in it, what one of them was off by makes no alarm.

    Example: [bold]pdtest baseline set nightly latest[/]
    """
    results = [result for run in runs for result in measured(run, home).results]
    saved = baselines(home).save(name, results, add=add)
    for baseline in saved:
        series, runs_kept = baseline.series, counted(len(baseline.results), "run")
        typer.echo(f"{name}: {series.environment}, {series.target}, {series.workload}: {runs_kept}")
    if not saved:
        typer.echo("nothing kept: all runs were bound by their client")
        raise typer.Exit(1)


@app.command()
def remove(name: Name, *, home: Home = Path(".pdtest")) -> None:
    """Delete the baselines of a name.

    Example: [bold]pdtest baseline remove nightly[/]
    """
    if not baselines(home).remove(name):
        raise no_baseline(name, home)
    typer.echo(f"removed {name}")


def _row(baseline: Baseline) -> dict[str, object]:
    series = baseline.series
    return {
        "name": baseline.name,
        "environment": series.environment,
        "target": series.target,
        "load": series.workload,
        "runs": len(baseline.results),
        "saved_unix_s": baseline.saved_unix_s,
        "fingerprint": baseline.fingerprint,
    }
