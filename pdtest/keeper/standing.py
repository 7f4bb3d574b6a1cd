"""Clusters that stand: where they are noted, and how one comes to be and to an end.

.pdtest/standing/<environment>/{keeper.json, keeper.log, keeper.sock, events.jsonl, members/}
"""

from __future__ import annotations

import json
import os
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import psutil
from filelock import FileLock

from pdtest.errors import PdtestError
from pdtest.keeper.messages import Answer, Ask
from pdtest.keeper.socket import knock
from pdtest.whole import write_whole

FOLDER: Final = "standing"
_NOTE: Final = "keeper.json"
_UP_S: Final = 20.0
_DOWN_S: Final = 60.0
_LOOK_S: Final = 0.02


class KeeperFailed(PdtestError):
    """A keeper did not come up."""

    title = "no keeper"


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A keeper that runs. ``since``: seconds since the epoch. ``pid`` and ``started`` name its process."""

    environment: str
    directory: Path
    pid: int
    started: float
    since: float

    @classmethod
    def read(cls, directory: Path) -> Self | None:
        """The keeper of a directory; None where there is none, or it has ended."""
        try:
            note = json.loads((directory / _NOTE).read_text(encoding="utf-8"))
            process = psutil.Process(note["pid"])
            alive = process.create_time() == note["started"] and process.status() != psutil.STATUS_ZOMBIE
        except (OSError, ValueError, KeyError, psutil.Error):
            return None
        if not alive:
            return None
        return cls(
            environment=note["environment"],
            directory=directory,
            pid=note["pid"],
            started=note["started"],
            since=note["since"],
        )

    @property
    def alive(self) -> bool:
        """The keeper runs."""
        return self.read(self.directory) == self

    def end(self) -> None:
        """End its members and itself. Raises what a member's end raises, and KeeperFailed."""
        with suppress(OSError, EOFError), knock(self.directory) as line:
            line.send(Ask(call="end"))
            said: Answer = line.recv()
            if said.error is not None:
                raise said.error
        self.until_gone()

    def until_gone(self) -> None:
        """Wait for its end. Raises KeeperFailed when it does not come."""
        deadline = time.monotonic() + _DOWN_S
        while self.alive:
            if time.monotonic() > deadline:
                raise KeeperFailed(
                    f"the keeper of '{self.environment}' does not end",
                    seen=f"process {self.pid}",
                    where=str(self.directory / "keeper.log"),
                    next_step=f"kill {self.pid}; its members end with it",
                )
            time.sleep(_LOOK_S)
        (self.directory / _NOTE).unlink(missing_ok=True)


@contextmanager
def raised(
    directory: Path, environment: str, *, controller: int | None = None
) -> Iterator[tuple[Standing, bool]]:
    """The keeper of ``directory``, and whether it is new and must be told within the context what to keep.

    It ends with the process ``controller``; None: it stands until it is told to end. Of several that ask at
    once one starts it, and the others wait. Raises KeeperFailed.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with FileLock(directory / "keeper.lock"):
        standing = Standing.read(directory)
        if standing is not None:
            yield standing, False
        else:
            yield _start(directory, environment, controller), True


def find(home: Path, environment: str) -> Standing | None:
    """The cluster of that environment that stands; None where none does."""
    return Standing.read(home / FOLDER / environment)


def standing_clusters(home: Path) -> Iterator[Standing]:
    """All that stand, by name."""
    with suppress(FileNotFoundError):
        for directory in sorted((home / FOLDER).iterdir()):
            standing = Standing.read(directory)
            if standing is not None:
                yield standing


def _start(directory: Path, environment: str, controller: int | None) -> Standing:
    owner = f"{environment}-{secrets.token_hex(4)}"
    argv = [sys.executable, "-m", "pdtest.keeper", str(directory), owner]
    pid = _spawn([*argv, *([str(controller)] if controller is not None else [])], directory / "keeper.log")
    deadline = time.monotonic() + _UP_S
    while not _answers(directory):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended or time.monotonic() > deadline:
            raise KeeperFailed(
                "the process that keeps a cluster did not start",
                seen=f"exit code {os.waitstatus_to_exitcode(status)}"
                if ended
                else f"no answer in {_UP_S:g} s",
                where=str(directory / "keeper.log"),
                next_step="see there why",
            )
        time.sleep(_LOOK_S)
    note = {
        "environment": environment,
        "pid": pid,
        "started": psutil.Process(pid).create_time(),
        "since": time.time(),
    }
    write_whole(directory / _NOTE, json.dumps(note) + "\n")
    found = Standing.read(directory)
    assert found is not None, "it answered a moment ago"  # noqa: S101
    return found


def _spawn(argv: list[str], log: Path) -> int:
    """A process that nobody waits for: it outlives us, or ends as a zombie of ours.

    In a session of its own: Ctrl-C and the closing of the terminal are not its concern.
    """
    (log.parent / "keeper.sock").unlink(missing_ok=True)
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    return os.posix_spawn(
        argv[0],
        argv,
        {**os.environ, "PYTHONUNBUFFERED": "1"},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), append, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )


def _answers(directory: Path) -> bool:
    try:
        knock(directory).close()
    except OSError:
        return False
    return True
