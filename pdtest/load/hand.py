"""A process of a load's client, wherever it is."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import IO, Final, Protocol

#: What it runs, after an interpreter.
MODULE: Final = "pdtest.load.worker"


class Hand(Protocol):
    """Is told through ``stdin``, in pickles, and says on ``stdout``. It ends when its stdin does."""

    stdin: IO[bytes]
    stdout: IO[bytes]
    #: For messages.
    where: str
    #: The host it is on, where its clock is not ours.
    host: str | None

    def kill(self) -> None:
        """End it now, from any thread."""
        ...

    def end(self) -> tuple[int | None, str]:
        """End it, and wait: its return code, and what it said on stderr."""
        ...


#: Starts one.
Hire = Callable[[], Hand]


class HandHere:
    """On this machine, in a session of its own, so that Ctrl-C is only for whoever started it."""

    host: str | None = None

    def __init__(self) -> None:
        # What it says when it breaks; a file, since nobody reads a pipe meanwhile.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - as long as it lives
        self._process = subprocess.Popen(  # noqa: S603 - ours
            [sys.executable, "-m", MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,
        )
        assert self._process.stdin is not None  # noqa: S101 - pipes
        assert self._process.stdout is not None  # noqa: S101
        self.stdin: IO[bytes] = self._process.stdin
        self.stdout: IO[bytes] = self._process.stdout
        self.where = f"python -m {MODULE}, pid {self._process.pid}"

    def kill(self) -> None:
        """End it now."""
        self._process.kill()

    def end(self) -> tuple[int | None, str]:
        """End it, and wait."""
        self._process.kill()
        code = self._process.wait()
        for pipe in (self.stdin, self.stdout):
            _close(pipe)
        if self._errors.closed:
            return code, ""
        with self._errors as errors:
            errors.seek(0)
            return code, errors.read().decode(errors="replace").strip()


def _close(pipe: IO[bytes]) -> None:
    try:
        pipe.close()
    except BrokenPipeError:
        return  # it had not read everything
