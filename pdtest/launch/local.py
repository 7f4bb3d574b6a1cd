"""Members as processes of this machine, each in a session of its own."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from pdtest.launch.kin import MEMBER_VARIABLE, OWNER_VARIABLE, Kin, Kinsman
from pdtest.launch.launcher import LaunchError, StillAlive
from pdtest.launch.script import render_script
from pdtest.services.service import Command

#: What a member left behind has this long after SIGTERM, once the member itself has ended.
STRAGGLER_GRACE_S = 2.0
#: SIGKILL works at once except on a process that hangs inside the kernel (a driver, a dead mount).
KILL_TIMEOUT_S = 10.0
_SCAN_INTERVAL_S = 0.02
_NOT_FOR_HAND = frozenset({OWNER_VARIABLE, MEMBER_VARIABLE})


class LocalLauncher:
    """Starts a member as a subprocess that writes straight to its log file."""

    name = "local"
    starts = True

    async def launch(self, command: Command, directory: Path, *, log: Path) -> LocalProcess:
        """Write the member's files and command.sh, then start it.

        Its output goes to the log by file descriptor, not through us, so nothing is lost when
        pytest dies. Raises LaunchError.
        """
        tags = _tags(command, directory)
        environment = _environment(command, tags)
        _write_files(command, directory)
        _check_program(command, directory, environment)
        with _open_log(log) as output:
            try:
                process = await asyncio.create_subprocess_exec(
                    *command.argv,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=asyncio.subprocess.STDOUT,
                    cwd=directory,
                    env=environment,
                    start_new_session=True,
                )
            except OSError as error:
                raise _refused(command, directory, error) from error
        return LocalProcess(process, tags)


class LocalProcess:
    """A running member and everything it started."""

    def __init__(self, process: asyncio.subprocess.Process, tags: Mapping[str, str]) -> None:
        self._process = process
        self._kin = Kin(tags)
        self._kin.lead(process.pid)

    @property
    def pid(self) -> int:
        """The process that leads the member's session."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs; negative for the signal that ended it."""
        return self._process.returncode

    async def wait(self) -> int:
        """Return code, once it has ended."""
        return await self._process.wait()

    async def stop(self, grace_s: float) -> None:
        """End the member and all its kin, wherever they went. Raises StillAlive."""
        deadline = time.monotonic() + grace_s
        asked = self._ask_group()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self._process.wait()
        await self._end_stragglers(asked, min(deadline, time.monotonic() + STRAGGLER_GRACE_S))
        await self._process.wait()

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
                raise _still_alive(alive)
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


def _tags(command: Command, directory: Path) -> dict[str, str]:
    owner = command.env.get(OWNER_VARIABLE)
    return {MEMBER_VARIABLE: str(directory.resolve())} | ({OWNER_VARIABLE: owner} if owner else {})


def _environment(command: Command, tags: Mapping[str, str]) -> dict[str, str]:
    # setproctitle (vLLM renames its processes with it) would overwrite /proc/pid/environ and with
    # it the tags; SPT_NOENV is its switch against that.
    return {"SPT_NOENV": "1"} | dict(os.environ) | dict(command.env) | dict(tags)


def _write_files(command: Command, directory: Path) -> None:
    directory = directory.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in command.files.items():
        path = (directory / name).resolve()
        if not path.is_relative_to(directory):
            raise LaunchError(
                f"the config file '{name}' would lie outside the member's directory",
                expected=f"a path below {directory}",
                next_step="give it a plain file name",
            )
        _write(path, text, mode=0o600 if any(secret in text for secret in command.secrets) else 0o644)
    by_hand = {name: value for name, value in command.env.items() if name not in _NOT_FOR_HAND}
    shown = Command(argv=command.argv, env=by_hand, secrets=command.secrets)
    _write(directory / "command.sh", render_script(shown, directory, variables=os.environ), mode=0o755)


def _open_log(log: Path) -> BinaryIO:
    log.parent.mkdir(parents=True, exist_ok=True)
    return log.open("ab")


def _write(path: Path, text: str, *, mode: int) -> None:
    """Whole or not at all: a member that reads while we write must not see half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.touch(mode=0o600)
    draft.write_text(text, encoding="utf-8")
    draft.chmod(mode)
    draft.replace(path)


def _check_program(command: Command, directory: Path, environment: Mapping[str, str]) -> None:
    if not command.argv:
        raise LaunchError("the member has no command", where=str(directory))
    program = command.argv[0]
    here = str(directory / program) if os.sep in program else program
    if shutil.which(here, path=environment.get("PATH")) is None:
        found_elsewhere = Path(here).exists()
        raise LaunchError(
            f"'{program}' is not executable" if found_elsewhere else f"there is no program '{program}'",
            expected="an executable file" if os.sep in program else "an executable on PATH",
            seen=None if os.sep in program else f"PATH={environment.get('PATH', '')}",
            where=str(directory / "command.sh"),
            next_step=f"chmod +x {here}" if found_elsewhere else f"install '{program}', or correct its path",
        )


def _refused(command: Command, directory: Path, error: OSError) -> LaunchError:
    return LaunchError(
        f"the system would not start '{command.argv[0]}'",
        seen=f"{type(error).__name__}: {error.strerror}",
        where=str(directory / "command.sh"),
        next_step="run that script by hand; it starts the member in the same way",
    )


def _still_alive(alive: list[Kinsman]) -> StillAlive:
    pids = ", ".join(str(process.pid) for process in alive)
    return StillAlive(
        f"processes {pids} outlived SIGKILL by {KILL_TIMEOUT_S:.0f} s",
        expected="every process of the member gone",
        next_step=f"see what they wait for in the kernel: cat /proc/{alive[0].pid}/wchan, and dmesg",
    )
