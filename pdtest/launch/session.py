"""A program started in a session of its own, and its end with everything that came of it.

Standard library only, Python 3.10: it also runs on hosts that have no pdtest (`agents/supervisor.py`).
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from pdtest.launch.kin import Kin, Kinsman

#: What a member left behind has this long after SIGTERM, once the member itself has ended.
STRAGGLER_GRACE_S = 2.0
#: SIGKILL works at once except on a process that hangs inside the kernel (a driver, a dead mount).
KILL_TIMEOUT_S = 10.0
_SCAN_INTERVAL_S = 0.02


class Outlived(Exception):
    """Processes that SIGKILL did not end."""

    def __init__(self, pids: Sequence[int]) -> None:
        super().__init__(f"processes {', '.join(map(str, pids))} outlived SIGKILL")
        self.pids = tuple(pids)


class NoProgram(Exception):
    """``argv[0]`` is nothing that can be run. ``found``: there is such a file, it is only not executable."""

    def __init__(self, program: str, *, found: bool, path: str | None) -> None:
        super().__init__(program)
        self.program = program
        self.found = found
        self.path = path


def environment(
    inherited: Mapping[str, str], given: Mapping[str, str], tags: Mapping[str, str]
) -> dict[str, str]:
    """Variables for a member: what it inherits, what it was given over that, and what marks it as ours."""
    # setproctitle (vLLM renames its processes with it) would overwrite /proc/pid/environ and with
    # it the tags; SPT_NOENV is its switch against that.
    return {"SPT_NOENV": "1", **inherited, **given, **tags}


def check_program(argv: Sequence[str], directory: Path, variables: Mapping[str, str]) -> None:
    """Raises NoProgram where the system would not find what it is told to run."""
    program = argv[0] if argv else ""
    here = str(directory / program) if os.sep in program else program
    path = variables.get("PATH")
    if not program or shutil.which(here, path=path) is None:
        raise NoProgram(program, found=bool(program) and Path(here).exists(), path=path)


class Session:
    """A running program and everything it started."""

    def __init__(self, process: asyncio.subprocess.Process, tags: Mapping[str, str]) -> None:
        self._process = process
        self._kin = Kin(tags)
        self._kin.lead(process.pid)

    @classmethod
    async def start(
        cls,
        argv: Sequence[str],
        directory: Path,
        *,
        variables: Mapping[str, str],
        tags: Mapping[str, str],
        log: Path,
    ) -> Session:
        """Start it in ``directory``, its output appended to ``log``. Raises OSError.

        Its output goes there by file descriptor, not through us, so nothing is lost when we die.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                cwd=directory,
                env=dict(variables),
                start_new_session=True,
            )
        return cls(process, tags)

    @property
    def pid(self) -> int:
        """The process that leads the session."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs; negative for the signal that ended it."""
        return self._process.returncode

    async def wait(self) -> int:
        """Return code, once it has ended."""
        return await self._process.wait()

    async def stop(self, grace_s: float) -> None:
        """End it and all its kin, wherever they went. Raises Outlived."""
        deadline = time.monotonic() + grace_s
        asked = self._ask_group()
        ending = asyncio.ensure_future(self._process.wait())
        await asyncio.wait({ending}, timeout=grace_s)
        await self._end_stragglers(asked, min(deadline, time.monotonic() + STRAGGLER_GRACE_S))
        await ending

    def scan(self) -> list[Kinsman]:
        """All that belong to it and live."""
        return self._kin.scan()

    def _ask_group(self) -> set[int]:
        """SIGTERM to the leader's process group. Returns the pids in it."""
        kin = self._kin.scan()  # also notes them: who belongs now still belongs when its parent has ended
        if self.returncode is not None:
            return set()  # its pid, and so the group's number, may belong to a stranger by now
        for number in (signal.SIGTERM, signal.SIGCONT):  # a stopped process must continue to take SIGTERM
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)
        return {process.pid for process in kin if process.group == self.pid}

    async def _end_stragglers(self, asked: set[int], deadline: float) -> None:
        """SIGTERM to those not asked yet, since they left the group; SIGKILL to all from ``deadline`` on."""
        while alive := await self._alive():
            late = time.monotonic() - deadline
            if late > KILL_TIMEOUT_S:
                raise Outlived([process.pid for process in alive])
            for process in alive:
                if late >= 0:
                    process.send(signal.SIGKILL)
                elif process.pid not in asked:
                    asked.add(process.pid)
                    process.send(signal.SIGTERM)
                    process.send(signal.SIGCONT)
            await asyncio.sleep(_SCAN_INTERVAL_S)

    async def _alive(self) -> list[Kinsman]:
        """Two looks: a child between fork and exec carries no tag yet."""
        alive = self._kin.scan()
        if not alive:
            await asyncio.sleep(_SCAN_INTERVAL_S)
            alive = self._kin.scan()
        return alive
