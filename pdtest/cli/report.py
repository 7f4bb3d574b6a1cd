"""`pdtest report`: the page of a run, from its directory alone."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from pdtest.report.page import write_report


def report(
    run: Annotated[Path, typer.Argument(help="The run's directory.", metavar="RUN")] = Path(
        ".pdtest/runs/latest"
    ),
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The page, with its .json and .md beside it. [default: in RUN]"),
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Show it in a browser.")] = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print what a pull request should show, too.")
    ] = False,
) -> None:
    """Make a page of everything that a run has left: verdicts, requests, loads, members, faults, logs.

    One file without scripts that needs no network; the same as data in report.json, in short in report.md.

    Example: [bold]pdtest report .pdtest/runs/latest --open[/]
    """
    written = write_report(run, output)
    for one in written.account.unreadable:
        typer.echo(f"pdtest: {one.file} could not be read and is not in the report: {one.why}", err=True)
    typer.echo(written.markdown.read_text(encoding="utf-8") if markdown else str(written.html))
    if show:
        webbrowser.open(written.html.resolve().as_uri())
