"""The seam to hosts that are not this machine: a launcher that must get there before anything is placed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol, runtime_checkable

from pdtest.environment.schema import Host
from pdtest.launch.clock import Skew
from pdtest.launch.launcher import Launcher

NOTHING: Final[Mapping[str, float]] = MappingProxyType({})


class Outpost(Launcher, Protocol):
    """A host that was reached, until `leave`. Its ports and devices are leased on itself.

    ``launch`` takes the directory that a run keeps of the member here; it runs in ``directory`` there.
    """

    #: What to call it.
    host: str
    #: Where members there listen, and the others reach them.
    address: str
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

    async def hold(self, kind: str, wanted: Mapping[int, str]) -> None:
        """Lease all of ``wanted``, purposes by number, or none. Raises DeviceTaken; HostError: no such."""
        ...

    async def free(self, kind: str, devices: Collection[int]) -> None:
        """Give devices back."""
        ...

    async def bring(self, directory: Path) -> str:
        """Its path on the host, with all its files, which are uploaded unless they are there."""
        ...

    async def leave(self) -> None:
        """The run is over. Whatever still runs there ends."""
        ...


@runtime_checkable
class Reaching(Launcher, Protocol):
    """A launcher whose members run on hosts that must be reached first.

    ``places_members``: each member is reached apart, since what the environment calls a host is many.
    """

    places_members: bool

    async def reach(
        self, name: str, host: Host, *, owner: str, resources: Mapping[str, float] = NOTHING
    ) -> Outpost:
        """Get there. Raises HostError.

        ``name``: of the host, or of the member whose ``resources`` they are. ``owner`` tells what a run
        starts there from all else.
        """
        ...
