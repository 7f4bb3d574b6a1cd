"""Ports that belong to one run at a time.

A lease is a file lock: the kernel frees it when its owner dies, however it dies. Beside each lock
a small JSON file says who holds it, so that a refusal can name the owner. The directory is shared
by all users of the machine.
"""

from __future__ import annotations

import errno
import json
import os
import random
import socket
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from pdtest.errors import PdtestError

DIRECTORY_VARIABLE = "PDTEST_LEASE_DIR"
#: Below this, ports that well-known programs use by habit are frequent.
LOWEST_PORT = 10_000
_EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_USUAL_EPHEMERAL_START = 32_768


class PortTaken(PdtestError):
    """A port that the environment asks for belongs to somebody else."""

    title = "port in use"


class NoPortsLeft(PdtestError):
    """No run of free ports was found."""

    title = "no free ports"


class PortLeases:
    """The ports that one owner (a run) holds on this machine."""

    def __init__(self, owner: str, directory: Path | None = None) -> None:
        self._owner = owner
        self._directory = directory or default_directory()
        self._locks: dict[int, FileLock] = {}
        self._claims: set[tuple[str, int]] = set()

    def take(self, count: int = 1, address: str = "127.0.0.1") -> int:
        """The first of ``count`` consecutive free ports, each leased. Raises NoPortsLeft.

        They lie below the range from which the kernel serves outgoing connections, so that none
        of those can slip in before the member binds. The search starts at random: runs that start
        together spread out.
        """
        low, high = _range()
        span = high - low - count + 1
        start = random.randrange(span)  # noqa: S311 - spreading, not secrecy
        first = 0
        while first < span:
            base = low + (start + first) % span
            blocked = self._lease_all(base, count, address)
            if blocked is None:
                return base
            first += blocked - base + 1
        raise NoPortsLeft(
            f"no {count} consecutive free ports between {low} and {high - 1}",
            where=str(self._directory),
            next_step=f"see who holds them: ss -ltnp, and the .json files in {self._directory}",
        )

    def claim(self, port: int, address: str = "127.0.0.1") -> None:
        """Lease a port that the environment fixes. Raises PortTaken, which names who has it."""
        if (address, port) in self._claims:
            raise PortTaken(
                f"two members of this environment ask for port {port} on {address}",
                next_step="give one of them another port, or leave it out to have one chosen",
            )
        if port not in self._locks and not self._lock(port):
            raise _leased_by_other(port, self._read_holder(port))
        if not _bindable(port, address):
            if not any(port == claimed for _, claimed in self._claims):
                self._release(port)
            raise _bound_by_other(port, address)
        self._claims.add((address, port))

    def release_all(self) -> None:
        """Give every port back. Safe to call twice."""
        for port in list(self._locks):
            self._release(port)
        self._claims.clear()

    def _lease_all(self, base: int, count: int, address: str) -> int | None:
        """None when all are leased, otherwise the port that stood in the way."""
        for port in range(base, base + count):
            if port in self._locks or not self._lock(port):
                blocked = port
            elif _bindable(port, address) and _bindable(port, "0.0.0.0"):  # noqa: S104 - asked, not served
                continue
            else:
                self._release(port)
                blocked = port
            for leased in range(base, port):
                self._release(leased)
            return blocked
        self._claims.update((address, port) for port in range(base, base + count))
        return None

    def _lock(self, port: int) -> bool:
        _prepare(self._directory)
        lock = FileLock(self._directory / f"{port}.lock", mode=0o666, thread_local=False)
        try:
            lock.acquire(blocking=False)
        except (Timeout, PermissionError):
            return False
        self._locks[port] = lock
        self._write_holder(port)
        return True

    def _release(self, port: int) -> None:
        with suppress(OSError):
            self._holder(port).unlink()
        self._locks.pop(port).release()

    def _holder(self, port: int) -> Path:
        return self._directory / f"{port}.json"

    def _write_holder(self, port: int) -> None:
        holder = {"owner": self._owner, "pid": os.getpid(), "since": time.time(), "cwd": str(Path.cwd())}
        with suppress(OSError):  # for messages only: the lock is what counts
            self._holder(port).unlink(missing_ok=True)
            self._holder(port).write_text(json.dumps(holder), encoding="utf-8")

    def _read_holder(self, port: int) -> dict[str, Any]:
        try:
            holder = json.loads(self._holder(port).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return holder if isinstance(holder, dict) else {}


def default_directory() -> Path:
    """Where this machine's leases are kept: ``$PDTEST_LEASE_DIR``, or pdtest-leases in the temp directory."""
    return Path(os.environ.get(DIRECTORY_VARIABLE) or Path(tempfile.gettempdir()) / "pdtest-leases")


def _prepare(directory: Path) -> None:
    if not directory.is_dir():
        directory.mkdir(parents=True, exist_ok=True)
        with suppress(PermissionError):  # another user made it in this very moment, and sets its mode
            directory.chmod(0o1777)


def _range() -> tuple[int, int]:
    """First port to use, and the one after the last."""
    try:
        ephemeral = int(_EPHEMERAL_RANGE.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        ephemeral = _USUAL_EPHEMERAL_START
    # A machine that hands out nearly all ports leaves no room below; then the bind check has to do.
    return LOWEST_PORT, ephemeral if ephemeral > LOWEST_PORT + 1000 else _USUAL_EPHEMERAL_START


def _bindable(port: int, address: str) -> bool:
    """Whether a server could listen there now. An address of another machine says nothing: True."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # servers set it: TIME_WAIT is no obstacle
        try:
            probe.bind((address, port))
            probe.listen(1)  # two may bind with SO_REUSEADDR; only one may listen
        except (OSError, OverflowError) as error:
            return getattr(error, "errno", None) not in {errno.EADDRINUSE, errno.EACCES}
    return True


def _leased_by_other(port: int, holder: dict[str, Any]) -> PortTaken:
    pid = holder.get("pid")
    seen = None
    if isinstance(pid, int) and psutil.pid_exists(pid):  # a note can outlive its lease
        minutes = (time.time() - float(holder.get("since", 0.0))) / 60
        seen = (
            f"run {holder.get('owner')}, process {pid}, for {minutes:.1f} min, started in {holder.get('cwd')}"
        )
    return PortTaken(
        f"another run holds port {port}",
        seen=seen,
        next_step="wait for it, end it, or give the member another port (or none, to have one chosen)",
    )


def _bound_by_other(port: int, address: str) -> PortTaken:
    listener = _listener(port)
    return PortTaken(
        f"port {port} on {address} is in use by a program that is not part of a run",
        seen=listener or f"the owner is another user's; as root: ss -ltnp 'sport = :{port}'",
        next_step="end that program, or give the member another port (or none, to have one chosen)",
    )


def _listener(port: int) -> str | None:
    """The process that listens on ``port``, as far as we may see it."""
    with suppress(psutil.Error, OSError):
        for connection in psutil.net_connections(kind="tcp"):
            address = connection.laddr
            if not address or address.port != port or connection.status != psutil.CONN_LISTEN:
                continue
            if connection.pid is not None:
                command = " ".join(psutil.Process(connection.pid).cmdline())
                return f"process {connection.pid}: {command}"
    return None
