"""Can an environment run here? Asked before anything starts."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator

import psutil

from pdtest.environment.schema import DeviceKind, Environment
from pdtest.services.programs import find_program

_GIB = 1 << 30


def unmet(environment: Environment) -> tuple[str, ...]:
    """Why the environment cannot run on this machine, one sentence each. Empty: it can."""
    return tuple(reason for check in _CHECKS for reason in check(environment))


def _packages(environment: Environment) -> Iterator[str]:
    extra = environment.requires.extra
    remedy = f": pip install 'pdtest[{extra}]'" if extra else ""
    for package in environment.requires.packages:
        if importlib.util.find_spec(package) is None:
            yield f"the Python package '{package}' is not installed{remedy}"


def _executables(environment: Environment) -> Iterator[str]:
    for program in environment.requires.executables:
        if find_program(program) is None:
            yield f"the program '{program}' is not on PATH"


def _memory(environment: Environment) -> Iterator[str]:
    wanted = environment.requires.memory_gib
    available = psutil.virtual_memory().available / _GIB
    if wanted is not None and available < wanted:
        yield f"{wanted:g} GiB of memory are needed, {available:.1f} GiB are available"


def _cores(environment: Environment) -> Iterator[str]:
    present = psutil.cpu_count() or 1
    for name, host in environment.hosts.items():
        if host.devices is not None and host.devices.kind is DeviceKind.CORE:
            absent = [core for core in host.devices.ids if core >= present]
            if absent:
                yield f"host '{name}' has {present} cores, the environment wants core {absent[0]}"


_CHECKS: tuple[Callable[[Environment], Iterator[str]], ...] = (_packages, _executables, _memory, _cores)
