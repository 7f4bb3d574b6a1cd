"""An embedded engine to measure: started, waited for, looked at, ended."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

_PATIENCE_S = 60.0


class Engine:
    """A process of its own; ``core`` is the only one it may run on."""

    def __init__(self, model: Path, *, core: int | None = None) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        ours = os.sched_getaffinity(0)
        self._began = time.perf_counter()
        if core is not None:
            os.sched_setaffinity(0, {core})  # children inherit it, their threads too
        command = [sys.executable, "-m", "pdtest.embedded.engine", "--model", str(model)]
        self._popen = subprocess.Popen(
            [*command, "--port", str(self.port)], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        os.sched_setaffinity(0, ours)
        self._process = psutil.Process(self._popen.pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._popen.terminate()
        self._popen.wait(timeout=_PATIENCE_S)

    def wait_ready(self) -> float:
        """Seconds from its start until /health was answered."""
        while not self._healthy():
            if self._popen.poll() is not None or time.perf_counter() - self._began > _PATIENCE_S:
                sys.exit(f"the engine does not come up (exit code {self._popen.poll()})")
            time.sleep(0.005)
        return time.perf_counter() - self._began

    def resident_mb(self) -> float:
        """Millions of bytes."""
        return float(self._process.memory_info().rss) / 1e6

    def cpu_s(self) -> float:
        """CPU time that it has used."""
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def _healthy(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=_PATIENCE_S) as connection:
                connection.sendall(b"GET /health HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n\r\n")
                return connection.recv(64).startswith(b"HTTP/1.1 200")
        except OSError:
            return False
