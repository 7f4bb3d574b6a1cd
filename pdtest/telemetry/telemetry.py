"""The process that looks at devices and members while a load runs, seen from the process that loads."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from pdtest.errors import PdtestError
from pdtest.results.monitor import Monitor
from pdtest.telemetry.monitors import monitors_of
from pdtest.telemetry.records import FILE
from pdtest.telemetry.settings import Settings

#: NVML takes seconds on a machine with many GPUs whose driver is not kept loaded.
_ARMED_S: Final = 60.0
_FLUSHED_S: Final = 10.0
_END_S: Final = 5.0
_LOG: Final = "telemetry.log"


class TelemetryFailed(PdtestError):
    """The process that looks did not come up."""

    title = "no telemetry"


class Telemetry:
    """Looks since it was made. Loads may be cut out of what it saw, any number, while it looks and after."""

    def __init__(self, settings: Settings, directory: Path) -> None:
        self._path = directory / FILE
        self._path.touch()
        self._died: str | None = None
        self._log = directory / _LOG
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-P", "-m", "pdtest.telemetry", str(self._path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd="/",
                start_new_session=True,  # Ctrl-C in the terminal is for us, who then close its stdin
            )
        # By stdin, not as an argument: there may be API keys in it.
        self._tell(settings.model_dump_json())
        if self._answer(_ARMED_S) != "armed":
            self.stop()
            raise TelemetryFailed(
                "the process that reads devices and members did not start",
                expected=f"{sys.executable} -m pdtest.telemetry says 'armed' within {_ARMED_S:.0f} s",
                seen=f"exit code {self._process.returncode}; {self._said()}",
                where=str(self._log),
                next_step="its output is in that file",
            )

    @property
    def pid(self) -> int:
        """The process that looks."""
        return self._process.pid

    def monitors(
        self, begun_monotonic_s: float, until_monotonic_s: float | None = None
    ) -> tuple[Monitor, ...]:
        """What was seen of each device and member from the beginning of a load to its end, or to now.

        Times become the load's: ``begun_monotonic_s`` (of ``time.monotonic()``) is 0. The readings just
        before and just after come with it, so that energy can be told for the whole span.
        """
        until_s = time.monotonic() if until_monotonic_s is None else until_monotonic_s
        self._flush()
        return monitors_of(self._path, begun_monotonic_s, until_s, died=self._died)

    def stop(self) -> None:
        """End it and keep what it saw. Safe to call twice."""
        if self._process.stdin is None or self._process.stdin.closed:
            return
        self._notice_death()
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _flush(self) -> None:
        """Have all that was read so far written. Where it does not answer, that is told by the monitors."""
        if self._process.stdin is None or self._process.stdin.closed or self._died:
            return
        self._tell("flush")
        if self._answer(_FLUSHED_S) != "flushed" and not self._notice_death():
            self._died = f"the process that looks did not answer within {_FLUSHED_S:.0f} s"

    def _notice_death(self) -> bool:
        """Whether it ended before it was told to."""
        if self._died is None and self._process.poll() is not None:
            self._died = (
                f"the process that looks ended early, exit code {self._process.returncode}{self._said()}"
            )
        return self._died is not None

    def _tell(self, line: str) -> None:
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.write(f"{line}\n".encode())
                self._process.stdin.flush()

    def _answer(self, within_s: float) -> str:
        """The next word it says; empty where it says none in time, or ended."""
        pipe = self._process.stdout
        if pipe is None:
            return ""
        said, deadline = b"", time.monotonic() + within_s
        while not said.endswith(b"\n"):
            readable, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
            data = os.read(pipe.fileno(), 64) if readable else b""
            if not data:
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(0.5 if readable else 0)
                return ""
            said += data
        return said.decode().strip()

    def _said(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return f": {lines[-1]}" if lines else ""


@contextmanager
def telemetry(settings: Settings, *, directory: Path | None = None) -> Iterator[Telemetry]:
    """Look at what ``settings`` name for as long as the context lasts, from a process of its own.

    ``directory``: where it writes, kept; without it, somewhere that is removed at the end, after which
    monitors are no longer to be had. Raises TelemetryFailed where the process does not come up. What
    cannot be looked at is no error: its monitor says why under ``missing``.
    """
    with ExitStack() as stack:
        place = directory or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pdtest-")))
        place.mkdir(parents=True, exist_ok=True)
        watch = Telemetry(settings, place)
        stack.callback(watch.stop)
        yield watch
