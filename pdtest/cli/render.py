"""`pdtest env render`: what starts each member, to be read or to be run by hand."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.syntax import Syntax

from pdtest.cli.catalogue import Root, catalogue_of
from pdtest.cli.terminal import output
from pdtest.cluster.model import located
from pdtest.cluster.plan import Plan, PlannedMember, plan
from pdtest.cluster.stack import config_files, start_script, write
from pdtest.environment.schema import Environment
from pdtest.launch.ports import FIRST_PORT, CountedPorts
from pdtest.launch.registry import launchers
from pdtest.launch.script import holders
from pdtest.models import embedded
from pdtest.services.registry import services
from pdtest.services.service import Command


def render(  # noqa: PLR0913 - one for each option
    name: Annotated[str, typer.Argument(help="Name of an environment, or path of a YAML file.")],
    *,
    directory: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="Write scripts and config files there."),
    ] = None,
    member: Annotated[
        list[str] | None,
        typer.Option("-m", "--member", metavar="MEMBER", help="Only this one; may be repeated."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: JSON, on standard output.")] = False,
    first_port: Annotated[
        int, typer.Option(min=1, max=65535, help="Ports that the file leaves open are counted from here.")
    ] = FIRST_PORT,
    force: Annotated[bool, typer.Option("--force", help="Replace what was rendered there before.")] = False,
    rootdir: Root = Path(),
) -> None:
    """Show, or write, everything that starts each member.

    The complete command line, variables and config files, just as tests
    would have them. Nothing is started; no program need be installed. Ports
    that the file leaves open are counted up from --first-port, so that the
    same call gives the same files. API keys are never written: the scripts
    take them from the variables that the environment file names.

    With [bold]--output[/] there are shell scripts, which need no pdtest:

      [bold]start-all.sh[/]         all members in the background, until they answer

      [bold]start-MEMBER.sh[/]      one member, in this terminal

      [bold]stack.sh COMMAND[/]     start or stop some; test, status, logs, config

      [bold]stop-all.sh[/]          end them

    Example: [bold]pdtest env render embedded -o /tmp/pd && /tmp/pd/start-all.sh[/]

    Example: [bold]pdtest env render embedded --member decode[/]

    Example: [bold]pdtest env render embedded --json | jq .members.decode.argv[/]
    """
    environment = catalogue_of(rootdir).load(name)
    planned = planned_in(environment, rootdir, directory=directory, first_port=first_port)
    chosen = planned.only(tuple(member or ()))
    if directory is not None:
        environment = planned.environment
        if environment.model.make == "embedded":
            embedded.ensure(Path(environment.model.path))  # a few numbers: it takes no time and no package
        write(planned, chosen, force=force)
    if as_json:
        typer.echo(json.dumps(described(planned, chosen), indent=2))
    elif directory is None:
        print_members(planned, chosen)
    else:
        _print_written(planned)


def planned_in(
    environment: Environment, rootdir: Path, *, directory: Path | None = None, first_port: int = FIRST_PORT
) -> Plan:
    """Its members as they would be started in a project, with ports counted from ``first_port``."""
    place = (directory or rootdir / ".pdtest" / "rendered" / environment.name).resolve()
    return plan(
        located(environment, rootdir),
        place,
        services=services(),
        launchers=launchers(),
        ports=CountedPorts(first_port),
    )


def described(planned: Plan, members: tuple[PlannedMember, ...]) -> dict[str, Any]:
    """What starts members, for programs; API keys as the variables that hold them."""
    return {
        "environment": planned.environment.name,
        "directory": str(planned.directory),
        "members": {member.name: _member(planned, member) for member in members},
    }


def _member(planned: Plan, member: PlannedMember) -> dict[str, Any]:
    settings, command = member.placement.member, member.command
    masked = _Masked(command or Command(argv=()))
    return {
        "role": settings.role.value,
        "service": settings.service,
        "launcher": settings.launcher,
        "host": settings.host,
        "address": member.placement.address,
        "ports": dict(member.placement.ports),
        "url": member.url,
        "probe": {"url": member.probe.url, "accept": sorted(member.probe.accept)},
        "ready_timeout_s": settings.ready_timeout_s,
        "directory": str(member.placement.directory),
        "argv": None if command is None else [masked(word) for word in command.argv],
        "env": {} if command is None else {key: masked(value) for key, value in command.env.items()},
        "files": config_files(planned, member),
    }


class _Masked:
    """Text with the name of the variable where a secret was."""

    def __init__(self, command: Command) -> None:
        self._names = holders(command, os.environ)
        self._secrets = sorted(filter(None, command.secrets), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, f"${{{self._names[secret]}}}" if secret in self._names else "***")
        return text


def print_members(planned: Plan, members: tuple[PlannedMember, ...]) -> None:
    """What starts members, for people."""
    console = output()
    environment = planned.environment
    console.print(f"[bold]{escape(environment.name)}[/]  {escape(environment.description)}")
    console.print(f"[dim]paths as they would be in {escape(str(planned.directory))}[/]")
    for member in members:
        settings = member.placement.member
        console.print(f"\n[bold]{escape(member.name)}[/]  {settings.role}, {settings.service}, {member.url}")
        if member.command is None:
            console.print("  runs already, and is never started or stopped (launcher: attach)")
            continue
        print_code(console, start_script(planned, member, anywhere=True), "bash")
        for name, text in config_files(planned, member).items():
            console.print(f"\n[dim]members/{escape(member.name)}/{escape(name)}[/]")
            print_code(console, text, name.rpartition(".")[2])


def print_code(console: Console, text: str, language: str) -> None:
    """In colours on a terminal, else as it is."""
    if console.is_terminal:
        console.print(Syntax(text.rstrip("\n"), language, background_color="default", word_wrap=True))
    else:
        typer.echo(text, nl=not text.endswith("\n"))


def _print_written(planned: Plan) -> None:
    console, here = output(), escape(str(planned.directory))
    console.print(f"[green]written[/]  {here}")
    if not planned.started:
        console.print(
            "its members all run already: ./stack.sh status and ./stack.sh test work, nothing is started"
        )
        return
    console.print(f"start    {here}/start-all.sh")
    console.print(f"try it   {here}/stack.sh test      (more: {here}/stack.sh --help)")
    console.print(f"stop     {here}/stop-all.sh")
