"""The `pdtest` command. Exit codes: 0 fine, 1 wrong, 2 the command was misused, 3 it cannot be told."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from pdtest.cli import (
    ask,
    baseline,
    compare,
    config,
    doctor,
    env,
    init,
    menu,
    model,
    mutants,
    report,
    run,
    standing,
)
from pdtest.cli.terminal import Guarded

app = typer.Typer(
    name="pdtest",
    cls=Guarded,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=(
        "Exit codes: 0 fine, 1 something is wrong, 2 the command was misused, 3 it cannot be told "
        "(ask, compare). Those of [bold]pdtest run[/] are pytest's.\n\n"
        "In a terminal, [bold]pdtest[/] alone is a menu of these. Completion in the shell: "
        "[bold]pdtest --install-completion[/].\n\n"
        "Tests are run by pytest: [bold]pytest --env NAME[/], [bold]pytest -m gpu[/]."
    ),
)
app.command("run", context_settings=run.PASSING_ON)(run.run)
app.command("up")(standing.up)
app.command("down")(standing.down)
app.command("restart")(standing.restart)
app.command("ps")(standing.ps)
app.command("logs")(standing.logs)
app.command("ask")(ask.ask)
app.command("config")(config.config)
app.command("doctor")(doctor.doctor)
app.command("init")(init.init)
app.add_typer(env.app, name="env")
app.add_typer(model.app, name="model")
app.add_typer(mutants.app, name="mutants")
app.add_typer(baseline.app, name="baseline")
app.command("report")(report.report)
app.command("compare")(compare.compare_runs)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pdtest {version('pdtest')}")
        raise typer.Exit


@app.callback()
def main(
    context: typer.Context,
    *,
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Integration tests for LLM serving with disaggregated prefill and decode.

    [bold]pdtest init[/]                write an environment file; asks, or takes options

    [bold]pdtest doctor NAME[/]         what is wrong with this machine, and what to do

    [bold]pdtest config NAME[/]         everything resolved; config NAME MEMBER: what starts it

    [bold]pdtest run NAME SUITE[/]      pytest, with the environment and suites by name

    [bold]pdtest up NAME[/]             start members and leave them running; down, ps, logs, restart

    [bold]pdtest ask "PROMPT"[/]        one request through it: both legs, parameters, evidence, verdict

    [bold]pdtest env list[/]            which environments there are

    [bold]pdtest env check[/]           is anything wrong in them

    [bold]pdtest env render NAME[/]     what starts each member, with scripts to start them by hand

    [bold]pdtest mutants run[/]        which suite notices which planted bug

    [bold]pdtest report RUN[/]          a page of everything that a run has left

    [bold]pdtest compare RUN RUN[/]     whether the second one is slower, or it is noise

    [bold]pdtest baseline set NAME RUN[/]  what later runs are held against

    [bold]pdtest model make DIR[/]      a small random model to test with
    """
    del show_version
    if context.invoked_subcommand is None:
        if sys.stdin.isatty() and sys.stdout.isatty():
            menu.menu(Path())
        else:
            typer.echo(context.get_help())
