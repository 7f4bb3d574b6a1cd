"""`pdtest mutants`: planted bugs, and which suites notice them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from pdtest.cli.terminal import Guarded, output
from pdtest.kills.catalogue import ALL, CATALOGUE, SELECTED, USUAL, chosen

app = typer.Typer(
    cls=Guarded,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Planted bugs that the suites must notice: list them, run the suites on them.",
)

_SUITES = (Path("suites/correctness"), Path("suites/transfer"))


@app.command("list")
def list_mutants(
    *, as_json: Annotated[bool, typer.Option("--json", help="For programs: a JSON list.")] = False
) -> None:
    """List the planted bugs: where each one is, which class of bugs it stands for, what it does.

    Example: [bold]pdtest mutants list --json | jq '.[].name'[/]
    """
    if as_json:
        rows = [
            {"name": one.name, "place": one.place, "bugs": one.bugs, "does": one.does} for one in CATALOGUE
        ]
        typer.echo(json.dumps(rows, indent=2))
        return
    table = Table("mutant", "place", "class", "what it does", box=None, pad_edge=False)
    for one in CATALOGUE:
        table.add_row(one.name, one.place, ",".join(one.bugs), one.does)
    output().print(table)


@app.command()
def run(
    *,
    env: Annotated[str, typer.Option(help="Environment that has the switches.")] = "embedded-mutants",
    only: Annotated[
        list[str] | None,
        typer.Option(
            help=f"A mutant's name, {SELECTED} or {ALL}; may be given several times. "
            f"Default: what the environment says under 'mutants', else {ALL}."
        ),
    ] = None,
    suite: Annotated[
        list[Path] | None, typer.Option(help="Folder or file of tests; may be given several times.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the table there as JSON, too.")
    ] = None,
    pytest_args: Annotated[
        list[str] | None, typer.Argument(help="Further arguments of pytest, after --.")
    ] = None,
) -> None:
    """Run suites with one planted bug after the other on one cluster, and print which suite kills which.

    Exit code 1 where a mutant survives, or a test fails with no bug planted.

    Example: [bold]pdtest mutants run --only kv-swapped --only kv-stale[/]
    """
    names = ",".join(mutant.name for mutant in chosen(only)) if only else USUAL
    arguments = [
        "-q",
        f"--env={env}",
        f"--mutants={names}",
        *map(str, suite or _SUITES),
        *(pytest_args or ()),
    ]
    if json_file is not None:
        arguments.append(f"--kill-table={json_file}")
    # In a process of its own, so that it is pytest as everybody runs it, and Ctrl-C is pytest's.
    done = subprocess.run([sys.executable, "-m", "pytest", *arguments], check=False)  # noqa: S603 - our own arguments
    raise typer.Exit(min(done.returncode, 2))
