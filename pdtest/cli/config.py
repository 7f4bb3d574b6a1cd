"""`pdtest config`: an environment with everything resolved, what starts a member; or both as they run."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from pdtest.cli.at_hand import at_hand
from pdtest.cli.catalogue import Home, Root, catalogue_of, complete, home_of
from pdtest.cli.render import described, planned_in, print_code, print_members
from pdtest.cli.standing import joined
from pdtest.cli.terminal import output
from pdtest.cluster.member import RunningMember
from pdtest.cluster.plan import UnknownMember
from pdtest.environment.resolved import dump_resolved
from pdtest.environment.scalar import CoreLoader
from pdtest.environment.schema import Environment
from pdtest.keeper import Standing, find
from pdtest.launch.kept import SCRIPT


def config(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[ENV]",
            help="Name or path; default: the cluster that stands, else pytest's default environment.",
            autocompletion=complete,
        ),
    ] = None,
    member: Annotated[str | None, typer.Argument(help="What starts this one, instead.")] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: JSON, on standard output.")] = False,
    rootdir: Root = Path(),
    home: Home = None,
) -> None:
    """Show an environment with everything resolved, or a member's command line, variables and files.

    Where its cluster stands, as it runs: the ports it has, the files it was started with. Else as it would
    be started; what is inherited and interpolated is written out. API keys are not.

    Example: [bold]pdtest config gpu-nixl[/]

    Example: [bold]pdtest config embedded decode --json | jq -r '.argv | join(" ")'[/]
    """
    kept = home_of(rootdir, home)
    wanted = name or at_hand(rootdir, kept)
    standing = find(kept, wanted)
    environment = None if standing is not None else catalogue_of(rootdir).load(wanted)
    if environment is not None:  # a file's path names a cluster, too
        standing = find(kept, environment.name)
    if standing is not None:
        _show_running(standing, member, as_json=as_json)
    elif environment is not None:
        _show_planned(environment, member, rootdir, as_json=as_json)


def _show_planned(environment: Environment, member: str | None, rootdir: Path, *, as_json: bool) -> None:
    if member is None:
        _show_environment(environment, as_json=as_json, running=False)
        return
    planned = planned_in(environment, rootdir)
    chosen = planned.only((member,))
    if as_json:
        (told,) = described(planned, chosen)["members"].values()
        typer.echo(json.dumps({"running": False, **told}, indent=2))
    else:
        print_members(planned, chosen)


def _show_running(standing: Standing, member: str | None, *, as_json: bool) -> None:
    with joined(standing) as cluster:
        if member is None:
            _show_environment(cluster.environment, as_json=as_json, running=True, since=standing.since)
            return
        if member not in cluster.members:
            raise UnknownMember(member, cluster.environment)
        told = _as_it_runs(cluster.members[member])
    if as_json:
        typer.echo(json.dumps(told, indent=2))
        return
    console = output()
    console.print(f"[bold]{member}[/]  {told['role']}, {told['service']}, {told['url']}, {told['state']}")
    for file, text in told["files"].items():
        console.print(f"\n[dim]{told['directory']}/{file}[/]")
        print_code(console, text, "bash" if file == SCRIPT else file.rpartition(".")[2])


def _as_it_runs(member: RunningMember) -> dict[str, Any]:
    """What the keeper wrote when it started the member. The script has its variables and command line."""
    settings, starts = member.placement.member, member.launcher.starts
    names = [SCRIPT, *member.service.render(member.placement).files] if starts else []
    paths = {name: member.directory / name for name in names}
    return {
        "running": True,
        "role": settings.role.value,
        "service": settings.service,
        "launcher": settings.launcher,
        "state": member.state.value,
        "url": member.url,
        "ports": dict(member.ports),
        "directory": str(member.directory),
        "files": {name: path.read_text(encoding="utf-8") for name, path in paths.items() if path.is_file()},
    }


def _show_environment(
    environment: Environment, *, as_json: bool, running: bool, since: float | None = None
) -> None:
    text = dump_resolved(environment)
    if as_json:
        told = yaml.load(text, CoreLoader)  # noqa: S506 - ours, and a SafeLoader
        typer.echo(json.dumps({"running": running, **told}, indent=2))
        return
    if since is not None:
        text = f"# as it runs, since {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(since))}\n{text}"
    print_code(output(), text, "yaml")
