"""A directory of shell scripts that start, test and stop an environment's members without pdtest.

DIR/
  start-all.sh  stop-all.sh  stack.sh     all members in the background; stack.sh without arguments explains
  start-<member>.sh                       one member in this terminal
  members.sh                              where they are; read by stack.sh
  environment.resolved.yaml               what all of this was made from
  members/<member>/{config files, <member>.log, <member>.pid}
"""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from pdtest.cluster.plan import Plan, PlannedMember
from pdtest.environment.resolved import dump_resolved
from pdtest.errors import PdtestError
from pdtest.launch.script import render_files, render_script
from pdtest.services.service import Command

_LOGIC: Final = Path(__file__).with_name("stack.sh")
#: What only a directory of ours has: such a one may be replaced.
_MARKER: Final = "members.sh"
_SCRIPT, _TEXT = 0o755, 0o644


class CannotWrite(PdtestError):
    """The directory that was named is not for us to write or to replace."""

    title = "not written"


def start_script(plan: Plan, member: PlannedMember, *, anywhere: bool = False) -> str:
    """start-<member>.sh: one member in the foreground. No secret is in it.

    It refuses to run from another directory than the one whose paths it names, unless ``anywhere``.
    """
    assert member.command is not None  # noqa: S101 - only of members that are started
    described = f"role {member.placement.member.role}, {member.placement.member.service}"
    return render_script(
        member.command,
        member.placement.directory,
        variables=_keys(plan),
        heading=(
            f"Starts '{member.name}' ({described}) of the environment '{plan.environment.name}'",
            "in this terminal; Ctrl-C ends it. In the background, with a log file:",
            f"    ./stack.sh start {member.name}",
            "Written by 'pdtest env render'.",
        ),
        checks=() if anywhere else (_in_place(plan),),
    )


def config_files(plan: Plan, member: PlannedMember) -> dict[str, str]:
    """The member's config files by name, secrets replaced: see `pdtest.launch.script.render_files`."""
    return render_files(member.command or Command(argv=()), _keys(plan))


def write(plan: Plan, members: Iterable[PlannedMember], *, force: bool = False) -> None:
    """Write ``plan.directory`` with the scripts and files of ``members``: all of it, or nothing.

    Raises CannotWrite where there is something already; with ``force`` only where that is not of our making,
    or where members that were started from it may still run.
    """
    target = plan.directory
    _refuse(target, force=force)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as scratch:
        draft = Path(scratch) / "new"
        draft.mkdir()
        for name, text, mode in _files(plan, tuple(members)):
            file = draft / name
            if not file.resolve().is_relative_to(draft.resolve()):
                raise CannotWrite(f"the config file '{name}' would lie outside {target}")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            file.chmod(mode)
        if target.exists():
            target.rename(Path(scratch) / "replaced")
        draft.rename(target)


def _refuse(target: Path, *, force: bool) -> None:
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not (target / _MARKER).is_file():
        raise CannotWrite(
            f"{target} is there, and 'pdtest env render' has not made it",
            expected="a directory that does not exist, or an empty one",
            next_step="choose another --output",
        )
    if not force:
        raise CannotWrite(
            f"{target} is there already",
            expected="a directory that does not exist, or an empty one",
            next_step="pass --force to replace it, or choose another --output",
        )
    if running := sorted(pid.stem for pid in target.glob("members/*/*.pid")):
        raise CannotWrite(
            f"members that were started from {target} may still run: {', '.join(running)}",
            expected="nothing of it runs when it is replaced",
            next_step=str(target / "stop-all.sh"),
        )


def _files(plan: Plan, members: tuple[PlannedMember, ...]) -> Iterator[tuple[str, str, int]]:
    """Name, text and mode of every file."""
    yield "environment.resolved.yaml", dump_resolved(plan.environment), _TEXT
    yield _MARKER, _description(plan, members), _TEXT
    yield "stack.sh", _LOGIC.read_text(encoding="utf-8"), _SCRIPT
    for command in ("start", "stop"):
        text = f'#!/usr/bin/env bash\nexec "$(dirname "$0")/stack.sh" {command} "$@"\n'
        yield f"{command}-all.sh", text, _SCRIPT
    for member in members:
        if member.command is not None:
            yield f"start-{member.name}.sh", start_script(plan, member), _SCRIPT
            # Also where there are none: it is where the member runs, and where its log goes.
            yield f"members/{member.name}/.keep", "", _TEXT
            for name, text in config_files(plan, member).items():
                yield f"members/{member.name}/{name}", text, _TEXT


def _description(plan: Plan, members: tuple[PlannedMember, ...]) -> str:
    """members.sh: arrays of bash."""
    started = [member for member in members if member.command is not None]
    model = plan.environment.model
    lines = [
        "# Where the members are. Read by stack.sh; written by 'pdtest env render'.",
        _in_place(plan),
        f"environment={shlex.quote(plan.environment.name)}",
        f"directory={shlex.quote(str(plan.directory))}",
        f"model_name={shlex.quote('' if plan.environment.only_stores else model.name)}",
        # A hub name, or a path on another machine, cannot be looked at.
        f"model_path={shlex.quote(model.path if model.make and started else '')}",
        f"model_remedy={shlex.quote(f'pdtest model make {shlex.quote(model.path)}')}",
        _list("members", (member.name for member in started)),
        "# Those that start without being named.",
        _list("together", (member.name for member in plan.together if member in members)),
        "# Those that run already, and are never started or stopped.",
        _list("attached", (member.name for member in members if member.command is None)),
        *_tables(plan, members),
    ]
    return "\n".join(lines) + "\n"


def _tables(plan: Plan, members: tuple[PlannedMember, ...]) -> Iterator[str]:
    settings = {member.name: member.placement.member for member in members}
    yield _table("role", {name: member.role.value for name, member in settings.items()})
    yield _table("host", {name: member.host for name, member in settings.items()})
    yield _table("url", {member.name: member.url for member in members})
    yield _table("probe", {member.name: member.probe.url for member in members})
    yield _table(
        "accept", {member.name: " ".join(map(str, sorted(member.probe.accept))) for member in members}
    )
    yield "# Seconds until it must be ready, and from SIGTERM to SIGKILL."
    yield _table("patience", {name: f"{member.ready_timeout_s:.0f}" for name, member in settings.items()})
    yield _table("grace", {name: f"{max(member.stop_timeout_s, 1):.0f}" for name, member in settings.items()})
    yield "# What each one listens on."
    yield _table("ports", {member.name: _addresses(plan, member) for member in members if member.command})
    yield "# Variables that hold API keys."
    yield _table("key", {name: one.api_key_env for name, one in settings.items() if one.api_key_env})


def _addresses(plan: Plan, member: PlannedMember) -> str:
    address = plan.environment.hosts[member.placement.member.host].address
    return " ".join(f"{address}:{port}" for port in member.placement.ports.values())


def _in_place(plan: Plan) -> str:
    """Files name paths, so none of them is of use elsewhere."""
    message = "'these files name paths in another directory, %s: render them again for this one\\n'"
    return (
        f"_at={shlex.quote(str(plan.directory))}\n"
        f'[[ $(dirname "${{BASH_SOURCE[0]}}") -ef $_at ]] || {{ printf {message} "$_at" >&2; exit 1; }}'
    )


def _list(name: str, values: Iterable[str]) -> str:
    return f"{name}=({' '.join(map(shlex.quote, values))})"


def _table(name: str, values: Mapping[str, str | None]) -> str:
    entries = "".join(f"\n  [{key}]={shlex.quote(value or '')}" for key, value in values.items())
    return f"declare -A {name}=({entries}\n)"


def _keys(plan: Plan) -> dict[str, str]:
    """Variables that hold API keys, with what is in them."""
    names = {member.api_key_env for member in plan.environment.members.values() if member.api_key_env}
    return {name: os.environ[name] for name in sorted(names) if os.environ.get(name)}
