"""`pdtest env`: looking at environment files without starting anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from pdtest.cli.catalogue import Root, catalogue_of
from pdtest.cli.render import print_code, render
from pdtest.cli.terminal import INVALID, Guarded, output
from pdtest.environment.catalogue import Catalogue
from pdtest.environment.finding import EnvironmentInvalid
from pdtest.environment.publish import json_schema
from pdtest.environment.resolved import dump_resolved
from pdtest.environment.schema import Environment

app = typer.Typer(
    cls=Guarded,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help=(
        "Look at environment files: list, show, check, render.\n\n"
        "Environments are the YAML files in ./environments and those that come with pdtest; a file of yours "
        "hides a shipped one of the same name."
    ),
)

app.command()(render)


@app.command("list")
def list_environments(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: a JSON list.")] = False,
    rootdir: Root = Path(),
) -> None:
    """List the environments that can be named.

    A file that cannot be used is listed with the first thing that is wrong in it.

    Example: [bold]pdtest env list --json | jq '.[].name'[/]
    """
    catalogue = catalogue_of(rootdir)
    rows = [_row(catalogue, name, file) for name, file in catalogue.files().items()]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        output().print(_table(rows) if rows else _nothing(catalogue))


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Name of an environment, or path of a YAML file.")],
    *,
    rootdir: Root = Path(),
) -> None:
    """Show an environment as the tests will see it.

    Everything inherited and interpolated is written out; API keys are not. References such as
    ${self.ports.http} stay, as they get their values when members start.

    Example: [bold]DECODE_PORT=9000 pdtest env show vllm-nixl[/]
    """
    print_code(output(), dump_resolved(catalogue_of(rootdir).load(name)), "yaml")


@app.command()
def check(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME_OR_PATH", help="What to check; default: all.")
    ] = None,
    *,
    rootdir: Root = Path(),
) -> None:
    """Check environment files and print everything that is wrong in them.

    Exit code 0 when all are fine, 1 when one is not, 2 for a name that does not exist.

    Example: [bold]pdtest env check vllm-nixl ./my-cluster.yaml[/]
    """
    catalogue = catalogue_of(rootdir)
    wanted = list(dict.fromkeys(names or catalogue.names()))
    files = {name: catalogue.file(name) for name in wanted}
    broken = [name for name in files if not _is_fine(catalogue, name)]
    if not files:
        output().print(_nothing(catalogue))
    if broken:
        output().print(f"\n[bold red]{len(broken)} of {len(files)} invalid[/]: {escape(', '.join(broken))}")
        raise typer.Exit(INVALID)


@app.command()
def schema(
    *,
    file: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write there, not to stdout.")
    ] = None,
) -> None:
    """Print the JSON Schema of environment files, for completion and checks in editors.

    Example: [bold]pdtest env schema -o .pdtest/environment.schema.json[/], and as first line of a file

    [bold]# yaml-language-server: $schema=../.pdtest/environment.schema.json[/]
    """
    text = json.dumps(json_schema(), indent=2) + "\n"
    if file is None:
        typer.echo(text, nl=False)
    else:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def _is_fine(catalogue: Catalogue, name: str) -> bool:
    console = output()
    try:
        catalogue.load(name)
    except EnvironmentInvalid as error:
        console.print(f"[bold red]invalid[/]  {escape(name)}")
        for finding in error.findings:
            console.print(f"\n{escape(str(finding))}")
        console.print()
        return False
    console.print(f"[green]ok[/]       {escape(name)}")
    return True


def _row(catalogue: Catalogue, name: str, file: Path) -> dict[str, Any]:
    try:
        return _described(name, file, catalogue.load(name))
    except EnvironmentInvalid as error:
        first = error.findings[0]
        return {
            "name": name,
            "file": str(file),
            "valid": False,
            "problem": first.summary,
            "where": first.where,
        }


def _described(name: str, file: Path, environment: Environment) -> dict[str, Any]:
    return {
        "name": name,
        "file": str(file),
        "valid": True,
        "description": environment.description,
        "marks": list(environment.marks),
        "contract": list(environment.connector.contract),
        "members": {key: member.role.value for key, member in environment.members.items()},
    }


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("name", "marks", "contract", "members", "description"):
        table.add_column(heading, no_wrap=heading == "name")
    for row in rows:
        if row["valid"]:
            table.add_row(
                escape(row["name"]),
                escape(" ".join(row["marks"])),
                " + ".join(row["contract"]),
                escape(" ".join(row["members"])),
                escape(row["description"]),
            )
        else:
            problem = f"invalid: {row['problem']}"
            table.add_row(f"[red]{escape(row['name'])}[/]", "", "", "", f"[red]{escape(problem)}[/]")
    return table


def _nothing(catalogue: Catalogue) -> str:
    places = ", ".join(str(directory) for directory in catalogue.directories) or "no directory"
    return f"no environments in {places}; put YAML files into ./environments"
