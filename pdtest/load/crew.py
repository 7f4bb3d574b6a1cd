"""The processes that a load is put on with."""

from __future__ import annotations

import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from importlib.util import find_spec
from types import TracebackType
from typing import IO, Any, Self, TypeVar

from pdtest.errors import MissingExtra, PdtestError
from pdtest.load.report import Report
from pdtest.load.share import Share
from pdtest.load.way import is_tls, urls_of

#: So long after all are ready they begin: each has time to be told.
_LEAD_S = 0.2
_TAIL = 2000

T = TypeVar("T")


class LoadBroken(PdtestError):
    """A process of the load's client ended before its time: nothing was measured."""

    title = "load broken off"


class Crew:
    """Processes of one load, one for each share. They end with the context, whatever happens.

    Each is in a session of its own, so that Ctrl-C is only for whoever started them, and each ends by itself
    when its stdin does.
    """

    def __init__(self, shares: Sequence[Share]) -> None:
        urls = {url for share in shares for url in urls_of(share.ways)}
        for package in ("uvloop", "httptools", *("aiohttp" for url in urls if is_tls(url))):
            if find_spec(package) is None:
                raise MissingExtra(package, "load", "a load")
        self._shares = shares
        self._processes: list[subprocess.Popen[bytes]] = []
        self._errors: list[IO[bytes]] = []

    def __enter__(self) -> Self:
        """Starts them."""
        try:
            for _ in self._shares:
                # What they say when they break; a file, since nobody reads a pipe meanwhile.
                errors = tempfile.TemporaryFile()
                self._errors.append(errors)
                self._processes.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "pdtest.load.worker"],
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        stderr=errors,
                        start_new_session=True,
                    )
                )
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends them."""
        self._end()

    def prepare(self) -> None:
        """Give each its share, and wait until all are warm. Raises LoadBroken."""
        self._each(self._hand_over)

    def work(self) -> tuple[float, list[Report]]:
        """When it began, CLOCK_MONOTONIC, and what they saw. Raises LoadBroken."""
        begun_at = time.monotonic() + _LEAD_S
        return begun_at, self._each(lambda number: self._begin(number, begun_at))

    def _hand_over(self, number: int) -> None:
        self._say(number, pickle.dumps(self._shares[number]))
        self._hear(number)

    def _begin(self, number: int, begun_at: float) -> Report:
        self._say(number, f"{begun_at!r}\n".encode())
        report: Report = self._hear(number)
        return report

    def _each(self, what: Callable[[int], T]) -> list[T]:
        """At once, for each process. The first that breaks ends all."""
        with ThreadPoolExecutor(len(self._processes)) as pool:
            futures = [pool.submit(what, number) for number in range(len(self._processes))]
            try:
                done, _ = wait(futures, return_when=FIRST_EXCEPTION)
                for future in done:
                    future.result()
            except BaseException:
                self._kill()  # what the threads read from
                raise
        return [future.result() for future in futures]

    def _say(self, number: int, what: bytes) -> None:
        pipe = self._processes[number].stdin
        try:
            if pipe is not None:
                pipe.write(what)
                pipe.flush()
        except BrokenPipeError:
            raise self._broken(number) from None

    def _hear(self, number: int) -> Any:
        pipe = self._processes[number].stdout
        try:
            return pickle.load(pipe) if pipe is not None else None  # noqa: S301 - from our child
        except (EOFError, pickle.UnpicklingError):
            raise self._broken(number) from None

    def _broken(self, number: int) -> LoadBroken:
        process, errors = self._processes[number], self._errors[number]
        process.kill()
        code = process.wait()
        errors.seek(0)
        said = errors.read().decode(errors="replace").strip()[-_TAIL:]
        return LoadBroken(
            f"process {number} of the client ended with {code}",
            expected="what it measured",
            seen=said or "nothing on stderr",
            where=f"python -m pdtest.load.worker, pid {process.pid}",
        )

    def _kill(self) -> None:
        for process in self._processes:
            process.kill()

    def _end(self) -> None:
        self._kill()
        for process in self._processes:
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    _close(pipe)
        for errors in self._errors:
            errors.close()


def _close(pipe: IO[bytes]) -> None:
    try:
        pipe.close()
    except BrokenPipeError:
        return  # it had not read everything
