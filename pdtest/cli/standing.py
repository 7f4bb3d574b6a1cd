"""`pdtest up`, `down`, `restart`, `ps`, `logs`: clusters that stand, for tests to use and people to see."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pdtest.cli.catalogue import Home, Root, catalogue_of, complete, home_of
from pdtest.cli.terminal import output
from pdtest.cluster.model import with_model
from pdtest.cluster.plan import UnknownMember
from pdtest.cluster.requirements import Unschedulable, unmet
from pdtest.cluster.stream import LogStream
from pdtest.environment.schema import Environment, ReferenceKind, Role
from pdtest.errors import PdtestError
from pdtest.events import Journal
from pdtest.keeper import FOLDER, KeeperGone, KeptCluster, Standing, find, join, standing_clusters
from pdtest.report.progress import Progress

_HOLDER = "pdtest"
_STYLES = {"ready": "green", "died": "bold red", "starting": "yellow"}

Name = Annotated[
    str,
    typer.Argument(
        metavar="ENV", help="Name of an environment, or path of a YAML file.", autocompletion=complete
    ),
]
Standing_ = Annotated[
    str | None,
    typer.Argument(metavar="[ENV]", help="An environment whose cluster stands; default: the only one."),
]
Json = Annotated[bool, typer.Option("--json", help="For programs: JSON, on standard output.")]


class NothingStands(PdtestError):
    """No cluster stands, or not the one that was named."""

    title = "nothing there"

    def __init__(self, home: Path, name: str | None, there: list[str]) -> None:
        super().__init__(
            f"no cluster of '{name}' stands" if name else "it is not said which cluster",
            expected=f"one of {', '.join(there)}" if there else "a cluster that 'pdtest up ENV' has started",
            where=str(home / FOLDER),
            next_step=f"pdtest up {name or 'ENV'}",
        )


def up(
    name: Name,
    *,
    wait: Annotated[
        float, typer.Option(metavar="SECONDS", help="For one that somebody uses, or devices that are held.")
    ] = 0.0,
    as_json: Json = False,
    rootdir: Root = Path(),
    home: Home = None,
) -> None:
    """Start an environment's members and leave them running; pytest finds and uses them.

    Where its cluster stands already, only members are started anew whose settings, config files or code have
    changed since, and those that have died. [bold]pdtest down[/] ends them.

    Example: [bold]pdtest up embedded && pytest suites/correctness[/]
    """
    environment = _ready_to_start(name, rootdir)
    folder = home_of(rootdir, home) / FOLDER / environment.name
    with _journal() as journal, Progress(_console()) as watch:
        found = join(environment, folder, journal=journal, holder=_holder(), within_s=wait, watch=watch)
        cluster = found.cluster
        try:
            cluster.start(_at_first(environment), watch=watch, within_s=wait)
        except BaseException:
            if found.new:
                with suppress(PdtestError):
                    _standing_at(folder).end()
            raise
        finally:
            cluster.stop()
    if as_json:
        typer.echo(json.dumps(_rows(home_of(rootdir, home)), indent=2))
    else:
        _say_what_stands(home_of(rootdir, home))


def down(
    name: Standing_ = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="End all clusters that stand.")] = False,
    rootdir: Root = Path(),
    home: Home = None,
) -> None:
    """End the members of a cluster that stands, and give its ports back.

    Example: [bold]pdtest down embedded[/]
    """
    kept = home_of(rootdir, home)
    wanted = [*standing_clusters(kept)] if everything else [chosen(kept, name)]
    for standing in wanted:
        standing.end()
        output().print(f"{standing.environment}: ended")


def restart(
    member: Annotated[str, typer.Argument(help="The member to end and to start again, on its ports.")],
    name: Standing_ = None,
    *,
    rootdir: Root = Path(),
    home: Home = None,
) -> None:
    """Restart one member of a cluster that stands; its log goes on.

    Example: [bold]pdtest restart decode[/]
    """
    standing = chosen(home_of(rootdir, home), name)
    with joined(standing) as cluster:
        _require(cluster, member)
        cluster.turn()
        with Progress(_console()) as watch:
            cluster.restart(member, watch=watch)


def ps(*, as_json: Json = False, rootdir: Root = Path(), home: Home = None) -> None:
    """List the clusters that stand: their members, how they are, where they answer, who uses them.

    Example: [bold]pdtest ps --json | jq '.[].members[].url'[/]
    """
    kept = home_of(rootdir, home)
    if as_json:
        typer.echo(json.dumps(_rows(kept), indent=2))
    else:
        _say_what_stands(kept)


def logs(  # noqa: PLR0913 - one for each option
    members: Annotated[list[str] | None, typer.Argument(help="Members; default: all.")] = None,
    *,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="The last so many of each.")] = 20,
    env: Annotated[str | None, typer.Option(help="Which cluster; default: the only one.")] = None,
    rootdir: Root = Path(),
    home: Home = None,
) -> None:
    """Show what members of a cluster that stands have said last, and with -f what they say from now on.

    Example: [bold]pdtest logs -f decode[/]
    """
    standing = chosen(home_of(rootdir, home), env)
    with joined(standing) as cluster:
        wanted = {name: cluster.members[_require(cluster, name)] for name in members or cluster.members}
        for name, member in wanted.items():
            for line in member.log.tail(lines):
                typer.echo(f"{name}| {line}")
        if follow:
            with LogStream(lambda: wanted, typer.echo), suppress(KeyboardInterrupt):
                while standing.alive:
                    time.sleep(0.2)


def _ready_to_start(name: str, rootdir: Path) -> Environment:
    environment = catalogue_of(rootdir).load(name)
    reasons = unmet(environment)
    if reasons:
        raise Unschedulable(environment.name, reasons)
    return with_model(environment, rootdir.resolve())


def _at_first(environment: Environment) -> list[str] | None:
    """A recorded reference runs only while it is recorded, since the others need its chips. None: as ever."""
    if environment.reference.kind is not ReferenceKind.RECORDED:
        return None
    apart = environment.members_with(Role.COLOCATED)
    return [name for name, one in environment.members.items() if name not in apart and not one.standby]


def chosen(home: Path, name: str | None) -> Standing:
    """The cluster of that name, or the only one. Raises NothingStands."""
    there = [*standing_clusters(home)]
    if name is None and len(there) == 1:
        return there[0]
    found = find(home, name) if name else None
    if found is None:
        raise NothingStands(home, name, [standing.environment for standing in there])
    return found


def _standing_at(folder: Path) -> Standing:
    found = Standing.read(folder)
    if found is None:
        raise NothingStands(folder.parent.parent, folder.name, [])
    return found


@contextmanager
def joined(standing: Standing) -> Iterator[KeptCluster]:
    """Its cluster, for as long as the context lasts."""
    with _journal() as journal:
        cluster = KeptCluster.joined(standing.directory, journal=journal, holder=_holder())
        try:
            yield cluster
        finally:
            cluster.stop()


@contextmanager
def _journal() -> Iterator[Journal]:
    """The keeper writes one; a command needs none of its own."""
    journal = Journal(Path(os.devnull))
    try:
        yield journal
    finally:
        journal.close()


def _require(cluster: KeptCluster, name: str) -> str:
    if name not in cluster.members:
        raise UnknownMember(name, cluster.environment)
    return name


def _holder() -> str:
    return f"{_HOLDER}, process {os.getpid()}"


def _console() -> Console:
    return Console(stderr=True, highlight=False)


def _rows(home: Path) -> list[dict[str, Any]]:
    rows = []
    for standing in standing_clusters(home):
        with suppress(KeeperGone):  # it was just about to end
            rows.append(_row(standing))
    return rows


def _row(standing: Standing) -> dict[str, Any]:
    with joined(standing) as cluster:
        return {
            "environment": standing.environment,
            "since": standing.since,
            "keeper": standing.pid,
            "directory": str(standing.directory),
            "used_by": list(cluster.holders),
            "members": [
                {
                    "name": member.name,
                    "role": member.role,
                    "state": "standby" if member.resting else member.state,
                    "url": member.url,
                    "pid": member.process.pid if member.process else None,
                    "generation": member.generation,
                    "log": str(member.log.path),
                }
                for member in cluster.members.values()
            ],
        }


def _say_what_stands(home: Path) -> None:
    rows = _rows(home)
    if not rows:
        output().print("no cluster stands; 'pdtest up ENV' starts one")
    for row in rows:
        minutes = (time.time() - row["since"]) / 60
        used = f", used by {row['used_by'][0]}" if row["used_by"] else ""
        output().print(f"[bold]{row['environment']}[/] for {minutes:.0f} min{used}")
        table = Table("member", "role", "state", "url", "pid", "log", box=None, pad_edge=False)
        for member in row["members"]:
            state = Text(member["state"], style=_STYLES.get(member["state"], "dim"))
            log = os.path.relpath(member["log"])
            pid = str(member["pid"] or "")
            table.add_row(member["name"], member["role"], state, member["url"], pid, log)
        output().print(table)
