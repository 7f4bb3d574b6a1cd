"""Can an environment run here? Asked before anything starts."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil
from packaging.requirements import Requirement

from pdtest.cluster import installed as program
from pdtest.cluster.installed import importable, installed
from pdtest.cluster.machine import NODES, devices, is_here
from pdtest.environment.schema import DeviceKind, Environment, Needed
from pdtest.errors import PdtestError
from pdtest.launch.registry import launchers
from pdtest.services.programs import find_program

_GIB = 1 << 30
_ANSWER_TIMEOUT_S = 60.0

#: Distribution and version of a package; None where it is absent. The version may be unknown: empty.
Found = tuple[str, str] | None

#: Chips in the words of those who have them.
_CHIPS: Final[Mapping[DeviceKind, str]] = {DeviceKind.CUDA: "GPU", DeviceKind.ASCEND: "NPU"}


@dataclass(frozen=True)
class Lack:
    """Something that is not here, and, where it is known, what to do about it."""

    fact: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.fact}: {self.remedy}" if self.remedy else self.fact


class Unschedulable(PdtestError):
    """The environment cannot run on this machine."""

    title = "unschedulable"

    def __init__(self, environment: str, reasons: Sequence[str]) -> None:
        self.environment = environment
        self.reasons = tuple(reasons)
        super().__init__(
            f"environment '{environment}' cannot run on this machine",
            seen="\n".join(reasons),
            next_step="install what is missing, deselect it, or pass --allow-unschedulable",
        )


def unmet(environment: Environment) -> tuple[str, ...]:
    """Why the environment cannot run on this machine, one sentence each. Empty: it can."""
    return tuple(str(lack) for check in CHECKS.values() for lack in check(environment))


def _packages(environment: Environment) -> Iterator[Lack]:
    needs = environment.requires
    wanted = [(Requirement(entry.need), entry.why) for entry in map(_spelled_out, needs.packages)]
    try:
        found = _found(needs.python, [requirement for requirement, _ in wanted])
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        yield Lack(f"the interpreter '{needs.python}' does not say which packages it has: {_cause(error)}")
        return
    there = f" in {needs.python}" if needs.python else ""
    for requirement, why in wanted:
        fact = _lacking(requirement, found[requirement.name])
        remedy = f"pip install 'pdtest[{needs.extra}]'" if needs.extra else f"pip install '{requirement}'"
        if fact:
            yield Lack(f"{fact}{there}", why or remedy)


def _ssh(environment: Environment) -> Iterator[Lack]:
    if any(member.launcher == "ssh" for member in environment.members.values()):
        yield from _extra("asyncssh", "ssh")


def _ray(environment: Environment) -> Iterator[Lack]:
    places = any(member.launcher == "ray" for member in environment.members.values())
    if places or environment.performance.senders is not None:
        yield from _extra("ray", "ray")


def _extra(package: str, extra: str) -> Iterator[Lack]:
    if not importable(package):
        yield Lack(f"the Python package '{package}' is not installed", f"pip install 'pdtest[{extra}]'")


def _lacking(requirement: Requirement, found: Found) -> str | None:
    if found is None:
        return f"the Python package '{requirement.name}' is not installed"
    distribution, version = found
    if requirement.specifier and not version:
        return f"'{requirement}' is needed, no metadata tells which '{distribution}' is installed"
    if requirement.specifier and not requirement.specifier.contains(version, prereleases=True):
        return f"'{requirement}' is needed, {distribution} {version} is installed"
    return None


def _found(python: str | None, wanted: Sequence[Requirement]) -> Mapping[str, Found]:
    if python and wanted:
        return _told_by(python, [requirement.name for requirement in wanted])
    return {
        requirement.name: installed(requirement.name)
        # Reading all packages' metadata takes a tenth of a second and more.
        if requirement.specifier or not importable(requirement.name)
        else (requirement.name, "")
        for requirement in wanted
    }


def _told_by(python: str, names: Sequence[str]) -> Mapping[str, Found]:
    """Raises OSError, SubprocessError, ValueError where the interpreter does not answer."""
    source = Path(program.__file__).read_text(encoding="utf-8")
    answer = subprocess.run(  # noqa: S603 - the environment file names the interpreter
        [find_program(python) or python, "-c", source, *names],
        capture_output=True,
        text=True,
        check=True,
        timeout=_ANSWER_TIMEOUT_S,
    )
    return {name: tuple(found) if found else None for name, found in json.loads(answer.stdout).items()}


def _cause(error: Exception) -> str:
    said = error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else ""
    return said.splitlines()[-1] if said else str(error)


def _executables(environment: Environment) -> Iterator[Lack]:
    for entry in map(_spelled_out, environment.requires.executables):
        if find_program(entry.need) is None:
            yield Lack(f"the program '{entry.need}' is not on PATH", entry.why)


def _files(environment: Environment) -> Iterator[Lack]:
    for entry in map(_spelled_out, environment.requires.files):
        if not Path(entry.need).expanduser().exists():
            yield Lack(f"there is no file {entry.need}", entry.why)


def _variables(environment: Environment) -> Iterator[Lack]:
    for entry in map(_spelled_out, environment.requires.variables):
        if not os.environ.get(entry.need):
            yield Lack(f"the environment variable {entry.need} is not set", entry.why)


def _memory(environment: Environment) -> Iterator[Lack]:
    wanted = environment.requires.memory_gib
    available = psutil.virtual_memory().available / _GIB
    if wanted is not None and available < wanted:
        yield Lack(f"{wanted:g} GiB of memory are needed, {available:.1f} GiB are available")


def _devices(environment: Environment) -> Iterator[Lack]:
    for name, kind, members in _hosts_here(environment):
        present = range(psutil.cpu_count() or 1) if kind is DeviceKind.CORE else devices(kind)
        absent = {
            member: lacking
            for member, asked in members.items()
            if (lacking := [device for device in asked if device not in present])
        }
        if absent:
            told = _few_cores if kind is DeviceKind.CORE else _no_chips
            yield Lack(told(name, kind, present, absent))


def _hosts_here(
    environment: Environment,
) -> Iterator[tuple[str, DeviceKind, Mapping[str, Sequence[int]]]]:
    """Hosts of this machine, with the devices of the members that are started on them.

    Other machines' devices cannot be seen from here, and members that run already have theirs.
    """
    known = launchers()
    starting = {
        name: member
        for name, member in environment.members.items()
        if member.launcher in known and known[member.launcher].starts
    }
    for name, host in environment.hosts.items():
        members = {member: each.devices for member, each in starting.items() if each.host == name}
        if host.devices is None or host.site is not None:  # of one that is reached, its supervisor tells
            continue
        if any(members.values()) and is_here(host.address):
            yield name, host.devices.kind, members


def _few_cores(host: str, _: DeviceKind, present: Sequence[int], absent: Mapping[str, Sequence[int]]) -> str:
    first = min(min(lacking) for lacking in absent.values())
    return f"host '{host}' has {len(present)} cores, the environment wants core {first}"


def _no_chips(
    host: str, kind: DeviceKind, present: Sequence[int], absent: Mapping[str, Sequence[int]]
) -> str:
    chip, node = _CHIPS[kind], f"/dev/{NODES[kind]}"
    has = f"has {chip} {', '.join(map(str, present))}" if present else f"has no {chip} (no {node}<N>)"
    asked = "; ".join(f"'{member}' asks for {', '.join(map(str, ids))}" for member, ids in absent.items())
    return f"host '{host}' {has}: {asked}. Run where {node}<N> exists for each, or give members other devices"


def _spelled_out(entry: str | Needed) -> Needed:
    return entry if isinstance(entry, Needed) else Needed(need=entry)


#: By what is looked at; each says what is lacking.
CHECKS: Final[Mapping[str, Callable[[Environment], Iterator[Lack]]]] = {
    "packages": _packages,
    "ssh": _ssh,
    "ray": _ray,
    "programs": _executables,
    "files": _files,
    "variables": _variables,
    "memory": _memory,
    "devices": _devices,
}
