"""A small process that ends what a run left behind when the run itself was killed.

`Guard` starts it before the first member, as ``python -m pdtest.launch.reaper``. It listens on a
pipe whose other end only the run holds. The run says what it starts and what it mounts and, at its end,
"bye". When the pipe closes without a bye, the run was killed: everything it started gets SIGTERM and,
after a grace, SIGKILL, and what it mounted is unmounted. Until then nobody else gets the run's devices: the
reaper has their locks, too.

Standard library only: it must be up in a moment, and it must work in any virtual environment.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pdtest.launch.kin import OWNER_VARIABLE, Kin, Kinsman

#: Seconds from SIGTERM to SIGKILL. Less than a member's own stop timeout: nobody waits for its answers, and
#: all must be gone after five seconds, also where the dying wait for a core.
GRACE_S = 1.0
#: A child between fork and exec carries no tag yet, so one empty scan proves little.
QUIET_SCANS = 5
GIVE_UP_S = 30.0
_SCAN_INTERVAL_S = 0.05
_PARENT_CHECK_INTERVAL_S = 0.5
#: Descriptors that one message may bring.
_AT_ONCE = 16
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def main() -> int:
    """Arguments: the run's owner token, the run's pid, the file to report to when it comes to that."""
    owner, controller, report = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    for number in _IGNORED:  # whoever signals everything in sight must not switch off the safety net
        signal.signal(number, signal.SIG_IGN)
    os.write(sys.stdout.fileno(), b"armed\n")
    kin, charge = Kin({OWNER_VARIABLE: owner}), Charge()
    if listen(kin, sys.stdin.fileno(), controller, charge):
        return 0
    all_gone = reap(kin, report)
    for directory in reversed(charge.mounts):  # the report may lie below one
        unmount(directory, report)
    return 0 if all_gone else 1


class Charge:
    """What else than processes a run leaves to its reaper."""

    def __init__(self) -> None:
        self.mounts: list[str] = []
        #: Locks by the names of the devices; the kernel frees one when both, the run and we, have let go.
        self.locks: dict[str, int] = {}


def listen(kin: Kin, pipe: int, controller: int, charge: Charge) -> bool:
    """Follow the run until it ends. True when it said bye: what still runs is meant to run.

    ``pipe`` is a socket, over which locks come as descriptors.
    """
    line = socket.socket(fileno=pipe)
    torn, descriptors = b"", list[int]()
    while True:
        readable, _, _ = select.select([line], [], [], _PARENT_CHECK_INTERVAL_S)
        if readable:
            data, more, _, _ = socket.recv_fds(line, 65536, _AT_ONCE)
            if not data:
                return False
            descriptors += more
            *lines, torn = (torn + data).split(b"\n")
            if _obey(kin, charge, lines, descriptors):
                return True
        elif os.getppid() != controller:
            # A process that the run forked without exec may hold the pipe open after its death.
            return False


def _obey(kin: Kin, charge: Charge, lines: list[bytes], descriptors: list[int]) -> bool:
    for line in lines:
        word, _, argument = line.decode().partition(" ")
        if word == "bye":
            return True
        if word == "lead":
            kin.lead(int(argument))
        if word == "leave":
            kin.leave(int(argument))
        if word == "mounted":
            charge.mounts.append(argument)
        if word == "unmounted":
            charge.mounts.remove(argument)
        if word == "holds":
            charge.locks[argument] = descriptors.pop(0)
        if word == "frees":
            os.close(charge.locks.pop(argument))
    return False


def unmount(directory: str, report: Path) -> None:
    """Take a file system of the run away. Lazily: somebody may be in it, and nobody needs what is there."""
    program = shutil.which("umount")
    done = program and subprocess.run((program, "-l", directory), capture_output=True, check=False)  # noqa: S603
    _note(report, f"unmounted {directory}" if done and not done.returncode else f"{directory} stays mounted")


def reap(kin: Kin, report: Path) -> bool:
    """End all kin. False when some would not go, which only the kernel can cause."""
    _note(report, "the run ended without saying so (killed?); ending what it started")
    asked, killed = set[int](), set[int]()

    def ask(process: Kinsman) -> None:
        if process.pid not in asked:
            _note(report, f"SIGTERM {process.pid}")
            asked.add(process.pid)
            process.send(signal.SIGTERM)
            process.send(signal.SIGCONT)  # a stopped process takes no SIGTERM before it continues

    def kill(process: Kinsman) -> None:
        if process.pid not in killed:  # on a busy machine it takes a while to go
            _note(report, f"SIGKILL {process.pid}")
            killed.add(process.pid)
        process.send(signal.SIGKILL)

    return _until_quiet(kin, ask, GRACE_S) or _until_quiet(kin, kill, GIVE_UP_S)


def _until_quiet(kin: Kin, act: Callable[[Kinsman], None], limit_s: float) -> bool:
    deadline = time.monotonic() + limit_s
    quiet = 0
    while time.monotonic() < deadline:
        alive = kin.scan()
        quiet = 0 if alive else quiet + 1
        if quiet == QUIET_SCANS:
            return True
        for process in alive:
            act(process)
        time.sleep(_SCAN_INTERVAL_S)
    return False


def _note(report: Path, text: str) -> None:
    stamp = time.strftime("%Y-%m-%d %H:%M:%S")
    try:
        with report.open("a", encoding="utf-8") as file:
            file.write(f"{stamp} {text}\n")
    except OSError:
        return  # the run's directory may be gone; the work matters more than the note


if __name__ == "__main__":
    sys.exit(main())
