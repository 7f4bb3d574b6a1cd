"""The seam between a rendered member and the way it comes to life.

To add a way of starting: a file in this room with a class of this shape, and a line in
`registry.py` (or a `pdtest.launchers` entry point in your own package).
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from pdtest.errors import PdtestError
from pdtest.services.service import Command


class LaunchError(PdtestError):
    """A member could not be started at all: no such program, no permission, no directory."""

    title = "launch failed"


class StillAlive(PdtestError):
    """Processes of a member outlived SIGKILL, which happens when they hang inside the kernel."""

    title = "not stopped"


class Process(Protocol):
    """A started member. ``pid`` is None where there is no process of ours (attach)."""

    @property
    def pid(self) -> int | None:
        """The process that leads the member's session."""
        ...

    @property
    def returncode(self) -> int | None:
        """None while it runs; negative for the signal that ended it, as in subprocess."""
        ...

    async def wait(self) -> int:
        """Return code, once it has ended. Never returns for an attached member."""
        ...

    async def stop(self, grace_s: float) -> None:
        """SIGTERM, then after ``grace_s`` seconds SIGKILL, to everything the member started.

        Also ends what a dead member left behind. Raises StillAlive when something would not go.
        """
        ...


class Launcher(Protocol):
    """A way of starting members. ``starts`` is False where nothing is started or stopped."""

    name: str
    starts: bool

    async def launch(self, command: Command, directory: Path, *, log: Path) -> Process:
        """Start ``command`` in ``directory`` with its output appended to ``log``.

        ``command.env`` carries the run's owner tag. Raises LaunchError when it cannot be started
        at all (no such program, no permission).
        """
        ...
