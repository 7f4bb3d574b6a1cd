"""Everything that can be looked at before members are started, in the order in which it is shown."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

from pdtest.cluster.machine import NODES
from pdtest.doctor import deployment
from pdtest.doctor.chips import chips
from pdtest.doctor.finding import Finding, fine
from pdtest.doctor.hosts import hosts
from pdtest.doctor.machine import disks, leases, memory
from pdtest.environment.schema import Environment
from pdtest.keeper import find
from pdtest.launch.registry import launchers


def machine(home: Path) -> Iterator[Finding]:
    """Of this machine, whatever is to run on it. ``home``: where runs and clusters are kept."""
    yield from memory()
    yield from disks(home)
    for kind in NODES:
        yield from chips(kind)
    yield from leases()


def environment_here(environment: Environment, rootdir: Path, home: Path) -> Iterator[Finding]:
    """Of this machine, and of the hosts that it names, as an environment wants them."""
    wanted, ways = deployment.chips_of(environment), launchers()
    yield from memory()
    yield from disks(home)
    for kind in NODES:
        yield from chips(kind, wanted.get(kind, ()))
    yield from deployment.requirements(environment)
    yield from deployment.model(environment, rootdir, ways)
    if find(home, environment.name) is not None:
        yield fine("members", "its cluster stands already, with its ports and devices: pdtest ps")
    else:
        yield from deployment.members(environment, rootdir, ways)
        yield from deployment.devices(environment, ways)
        yield from asyncio.run(hosts(environment, ways))
    yield from leases()
