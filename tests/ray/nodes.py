"""A real Ray cluster of two nodes on the loopback range, each with an address and resources of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

HEAD, OTHER = "127.0.0.6", "127.0.0.7"
_RAY = Path(sys.executable).with_name("ray")
#: Starting takes about five seconds, and much longer beside others.
_START_S = 180.0
_LEAN = (
    *("--block", "--disable-usage-stats", "--include-log-monitor=false", "--num-gpus=0", "--num-cpus=2"),
    *("--object-store-memory=80000000", "--min-worker-port=0", "--max-worker-port=0"),
)
#: A node that died is missed after five seconds instead of fifteen.
_VARIABLES = {"RAY_AUTH_MODE": "disabled", "RAY_health_check_period_ms": "1000"}


@dataclass(frozen=True, kw_only=True)
class Nodes:
    """``address``: of the cluster. Processes by the address of their node: each is all that a node is."""

    address: str
    directory: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, node: str, *how: str) -> None:
        """`ray start`, whose leases are in a directory of its own, and which must not know our test."""
        if node in self.processes:
            self.processes[node].terminate()
            self.processes[node].wait()
        variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
        log = self._log(node)
        with log.open("wb") as output:
            self.processes[node] = subprocess.Popen(
                [_RAY, "start", f"--node-ip-address={node}", *how, *_LEAN],
                stdout=output,
                stderr=output,
                env=variables | _VARIABLES | {"PDTEST_LEASE_DIR": str(self.leases(node))},
                start_new_session=True,
            )

    def await_node(self, node: str) -> None:
        """Until it has started."""
        deadline = time.monotonic() + _START_S
        while "Ray runtime started" not in (said := self._log(node).read_text(errors="replace")):
            assert self.processes[node].poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.05)

    def leases(self, node: str) -> Path:
        """Where runs on that node keep their claims."""
        return self.directory / f"leases-{node}"

    def kill(self, node: str) -> None:
        """As a machine that loses its power: its raylet is gone at once, and all else of the node with it."""
        for process in psutil.Process(self.processes[node].pid).children(recursive=True):
            if process.name() == "raylet":
                process.kill()

    def stop(self) -> None:
        """End both, by their processes."""
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for left in psutil.process_iter(["cmdline"]):  # in sessions of their own
            if str(self.directory) in " ".join(left.info["cmdline"] or ()):
                with suppress(psutil.NoSuchProcess):
                    left.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _log(self, node: str) -> Path:
        return self.directory / f"{node}.log"


@pytest.fixture(scope="session")
def nodes() -> Iterator[Nodes]:
    """The head has `prefill: 2` and four NPUs, the other `decode: 2` and eight, as far as Ray knows."""
    with socket.create_server((HEAD, 0)) as free:
        port = free.getsockname()[1]
    # Ray's sockets lie below it, and their paths may not be long.
    directory = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    cluster = Nodes(address=f"{HEAD}:{port}", directory=directory)
    try:
        cluster.start(
            *(HEAD, "--head", f"--port={port}", f"--temp-dir={directory}/ray", "--include-dashboard=false"),
            *("--no-monitor", '--resources={"prefill": 2, "NPU": 4}', "--labels=rack=one"),
        )
        cluster.await_node(HEAD)
        start_other(cluster)
        yield cluster
    finally:
        cluster.stop()


def start_other(cluster: Nodes) -> None:
    """Also once it was killed."""
    cluster.start(OTHER, f"--address={cluster.address}", '--resources={"decode": 2, "NPU": 8}')
    cluster.await_node(OTHER)
