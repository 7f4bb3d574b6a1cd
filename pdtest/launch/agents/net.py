"""The reaper under the supervisor: should the supervisor die, what it started ends all the same."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import NoReturn

from pdtest.launch import reaper
from pdtest.launch.kin import OWNER_VARIABLE, Kin


class Net:
    """A forked process that runs `pdtest.launch.reaper` for everything that carries ``owner``'s tag."""

    def __init__(self, owner: str, report: Path) -> None:
        """Before there are threads, locks and a loop: the child must hold none of them."""
        self._pipe, read_end = (end.detach() for end in socket.socketpair())
        controller = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._pipe)
            _watch(owner, read_end, controller, report)
        os.close(read_end)

    def lead(self, pid: int) -> None:
        """A member's session began."""
        os.write(self._pipe, f"lead {pid}\n".encode())

    def leave(self, pid: int) -> None:
        """A member's session is over."""
        os.write(self._pipe, f"leave {pid}\n".encode())

    def holds(self, name: str, lock: int) -> None:
        """A part in the lock of a device, which nobody else gets before all is gone."""
        with socket.socket(fileno=os.dup(self._pipe)) as line:
            socket.send_fds(line, [f"holds {name}\n".encode()], [lock])

    def frees(self, name: str) -> None:
        """The device is given back."""
        os.write(self._pipe, f"frees {name}\n".encode())

    def fold(self) -> None:
        """All is in order: nothing is to be ended."""
        os.write(self._pipe, b"bye\n")
        self._await()

    def catch(self) -> None:
        """End everything now; return when it is gone."""
        self._await()

    def _await(self) -> None:
        os.close(self._pipe)
        os.waitpid(self._pid, 0)


def _watch(owner: str, pipe: int, controller: int, report: Path) -> NoReturn:
    code = 1
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):  # while one of them is open, sshd takes the session for alive
            os.dup2(nowhere, standard)
        kin = Kin({OWNER_VARIABLE: owner})
        over = reaper.listen(kin, pipe, controller, reaper.Charge()) or reaper.reap(kin, report)
        code = 0 if over else 1
    finally:
        os._exit(code)  # without what Python does at its end: what is buffered is the parent's
