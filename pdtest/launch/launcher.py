"""The seam between a rendered member and the way it comes to life.

To add a way of starting: a file in this room with a class of this shape, and a line in
`registry.py` (or a `pdtest.launchers` entry point in your own package).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from pdtest.errors import PdtestError
from pdtest.launch.session import KILL_TIMEOUT_S, NoProgram
from pdtest.launch.vitals import Vitals
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

    async def look(self) -> list[Vitals]:
        """All that the member started and that lives, where it runs, the first first. Empty: not ours."""
        ...

    async def look_at(self, those: Sequence[Vitals]) -> list[Vitals]:
        """How each of ``those`` is now, ended or not."""
        ...

    async def signal(self, those: Sequence[Vitals], number: int) -> list[bool]:
        """Send it to each of ``those`` that has not ended; whether the kernel took it for them."""
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


def no_program(error: NoProgram, script: Path, on: str = "") -> LaunchError:
    """The error for a member whose program is not there. ``script`` starts it by hand; ``on``: the host."""
    if not error.program:
        return LaunchError("the member has no command", where=str(script.parent))
    is_path = os.sep in error.program
    return LaunchError(
        f"'{error.program}'{on} is not executable"
        if error.found
        else f"there is no program '{error.program}'{on}",
        expected="an executable file" if is_path else "an executable on PATH",
        seen=None if is_path else f"PATH={error.path or ''}",
        where=str(script),
        next_step=f"chmod +x {error.program}"
        if error.found
        else f"install '{error.program}'{on}, or correct its path",
    )


def refused(program: str, error: OSError, script: Path) -> LaunchError:
    """The error for a program that the system would not start."""
    return LaunchError(
        f"the system would not start '{program}'",
        seen=f"{type(error).__name__}: {error.strerror}",
        where=str(script),
        next_step="run that script by hand; it starts the member in the same way",
    )


def still_alive(pids: Sequence[int], on: str = "") -> StillAlive:
    """The error for processes that SIGKILL did not end; ``on`` names another machine."""
    listed = ", ".join(map(str, pids))
    return StillAlive(
        f"processes {listed}{on} outlived SIGKILL by {KILL_TIMEOUT_S:.0f} s",
        expected="every process of the member gone",
        next_step=f"see what they wait for in the kernel{on}: cat /proc/{pids[0]}/wchan, and dmesg",
    )
