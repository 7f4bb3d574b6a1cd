"""The run's side of the reaper: starts it, keeps it informed, dismisses it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pdtest.launch.reaper
from pdtest.errors import PdtestError

_ROOT = Path(pdtest.launch.reaper.__file__).parents[2]


class GuardFailed(PdtestError):
    """The reaper did not come up, so a kill -9 of the run would leave its members running."""

    title = "no safety net"


class Guard:
    """A running reaper. When this process dies without `dismiss`, all that ``owner`` started is ended."""

    def __init__(self, owner: str, report: Path) -> None:
        # socketpair and Popen see to it that no member inherits our end, which would keep it open.
        self._pipe, read_end = (end.detach() for end in socket.socketpair())
        armed, say_armed = os.pipe()
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            # -S: no site-packages, for speed. -P: nothing from the directory it happens to start in.
            [sys.executable, "-S", "-P", "-m", "pdtest.launch.reaper", owner, str(os.getpid()), str(report)],
            stdin=read_end,
            stdout=say_armed,
            stderr=subprocess.DEVNULL,  # a terminal or CI pipe must not stay open on its account
            # An environment of its own: under an outer run's tag the outer run would end it too early.
            env={"PYTHONPATH": str(_ROOT)},
            cwd="/",
            start_new_session=True,  # Ctrl-C in the terminal is the run's to handle
        )
        os.close(read_end)
        os.close(say_armed)
        self._await_armed(armed)

    @property
    def pid(self) -> int:
        """The reaper's process."""
        return self._process.pid

    def lead(self, pid: int) -> None:
        """Tell the reaper of a member's session: a second way to find it, beside its tag."""
        self._say(f"lead {pid}")

    def leave(self, pid: int) -> None:
        """Tell the reaper that a member's session is over."""
        self._say(f"leave {pid}")

    def mounted(self, directory: Path) -> None:
        """Tell the reaper of a file system that goes away with the run."""
        self._say(f"mounted {directory}")

    def unmounted(self, directory: Path) -> None:
        """Tell the reaper that it was taken away. Only after `mounted` with the same words."""
        self._say(f"unmounted {directory}")

    def holds(self, name: str, lock: int) -> None:
        """Give the reaper a part in the lock of a device: it is free when we both have let go."""
        with suppress(BrokenPipeError), socket.socket(fileno=os.dup(self._pipe)) as line:
            socket.send_fds(line, [f"holds {name}\n".encode()], [lock])

    def frees(self, name: str) -> None:
        """The device is given back before the run is over. Only after `holds` with the same name."""
        self._say(f"frees {name}")

    def dismiss(self) -> None:
        """End the reaper in good order; whatever runs now is left running. Safe to call twice."""
        if self._process.returncode is None:
            self._say("bye")
            os.close(self._pipe)
            self._process.wait()

    def _await_armed(self, armed: int) -> None:
        with open(armed, "rb") as answer:
            if answer.readline() == b"armed\n":
                return
        os.close(self._pipe)
        code = self._process.wait()
        raise GuardFailed(
            "the process that cleans up after a killed run did not start",
            expected=f"{sys.executable} -m pdtest.launch.reaper says 'armed'",
            seen=f"exit code {code}",
            next_step="run that command by hand to see why",
        )

    def _say(self, line: str) -> None:
        with suppress(BrokenPipeError):  # somebody killed the reaper: the run goes on without a net
            os.write(self._pipe, f"{line}\n".encode())
