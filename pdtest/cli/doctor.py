"""`pdtest doctor`: what is wrong with a machine, before members are started on it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.markup import escape

from pdtest.cli.catalogue import Home, Root, catalogue_of, complete, home_of
from pdtest.cli.terminal import INVALID, output
from pdtest.doctor import Finding, State, environment_here, machine

_STYLES: Final = {State.FINE: "green", State.NOTE: "yellow", State.WRONG: "bold red"}


def doctor(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[ENV]",
            help="Look also at what this environment wants; name or path.",
            autocompletion=complete,
        ),
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: JSON, on standard output.")] = False,
    rootdir: Root = Path(),
    home: Home = None,
) -> None:
    """Look at this machine, and say what is wrong with it and what to do.

    Memory, disks, chips with their drivers and the ways between them, leases that runs hold. With an
    environment also its packages, programs, files, variables and model, its members' settings, ports and
    devices, members that run already, and the hosts that are reached over ssh, with their clocks.
    Nothing is started. A note stops nobody; exit code 1 where something is wrong.

    Example: [bold]pdtest doctor gpu-nixl[/]

    Example: [bold]pdtest doctor --json | jq '.findings[] | select(.state == "wrong")'[/]
    """
    kept = home_of(rootdir, home)
    if name is None:
        findings = machine(kept)
    else:
        findings = environment_here(catalogue_of(rootdir).load(name), rootdir.resolve(), kept)
    found = _as_json(name, findings) if as_json else _shown(findings)
    if any(finding.state is State.WRONG for finding in found):
        raise typer.Exit(INVALID)


def _shown(findings: Iterable[Finding]) -> list[Finding]:
    """Each as soon as it is known: a driver may take its time."""
    found, console = [], output()
    for finding in findings:
        found.append(finding)
        style = _STYLES[finding.state]
        fact = escape(finding.fact.replace("\n", "\n" + " " * 18))
        console.print(f"[{style}]{finding.state:<6}[/] {finding.area:<10} {fact}")
        if finding.remedy:
            console.print(f"{'':18}[dim]->[/] {escape(finding.remedy)}")
    return found


def _as_json(name: str | None, findings: Iterable[Finding]) -> list[Finding]:
    found = [*findings]
    typer.echo(json.dumps({"environment": name, "findings": [asdict(one) for one in found]}, indent=2))
    return found
