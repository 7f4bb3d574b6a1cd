"""The seam to hosts that are not this machine: a launcher that must get there before anything is placed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from pdtest.environment.schema import Host
from pdtest.launch.clock import Skew
from pdtest.launch.launcher import Launcher


class Outpost(Launcher, Protocol):
    """A host that was reached, until `leave`. Its ports and devices are leased on itself.

    ``launch`` takes the directory that a run keeps of the member here; it runs in ``directory`` there.
    """

    #: As the environment calls it.
    host: str
    #: An interpreter there.
    python: str
    #: Its clock against ours, when it was reached.
    skew: Skew

    def directory(self, member: str) -> Path:
        """Where the member runs, on that host."""
        ...

    async def claim(self, port: int, address: str) -> None:
        """Lease a port that the environment fixes. Raises PortTaken."""
        ...

    async def take(self, count: int, address: str) -> int:
        """The first of ``count`` consecutive ports, leased. Raises NoPortsLeft."""
        ...

    async def hold(self, kind: str, ids: Sequence[int], purpose: str) -> None:
        """Lease devices. Raises DeviceTaken, or HostError where there are none such."""
        ...

    async def bring(self, directory: Path) -> str:
        """Its path on the host, with all its files, which are uploaded unless they are there."""
        ...

    async def leave(self) -> None:
        """The run is over. Whatever still runs there ends."""
        ...


@runtime_checkable
class Reaching(Launcher, Protocol):
    """A launcher whose members run on hosts that must be reached first."""

    async def reach(self, name: str, host: Host, *, owner: str) -> Outpost:
        """Get there. Raises HostError. ``owner`` tells what a run starts there from all else."""
        ...
