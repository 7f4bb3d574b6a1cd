"""Ports that belong to one run at a time: claims on this machine, and what to say where they are denied."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from pdtest.errors import PdtestError
from pdtest.launch.claims import Claims, Denied, Exhausted, PortClaims, default_directory

_OTHER_PORT = "give the member another port (or none, to have one chosen)"


class PortTaken(PdtestError):
    """A port that the environment asks for belongs to somebody else."""

    title = "port in use"


class NoPortsLeft(PdtestError):
    """No run of free ports was found."""

    title = "no free ports"


class PortLeases:
    """The ports that one owner (a run) holds on this machine."""

    def __init__(
        self, owner: str, directory: Path | None = None, *, span: tuple[int, int] | None = None
    ) -> None:
        """``span``: the first port to choose, and the one after the last; None: the usual ones."""
        self._directory = directory or default_directory()
        self._ports = PortClaims(Claims(owner, self._directory, _lock), span)

    def take(self, count: int = 1, address: str = "127.0.0.1") -> int:
        """The first of ``count`` consecutive free ports, each leased. Raises NoPortsLeft."""
        try:
            return self._ports.take(count, address)
        except Exhausted as error:
            raise none_left(error, str(self._directory)) from None

    def claim(self, port: int, address: str = "127.0.0.1") -> None:
        """Lease a port that the environment fixes. Raises PortTaken, which names who has it."""
        try:
            self._ports.claim(port, address)
        except Denied as error:
            raise taken(error, _listener(port) if error.reason == "bound" else None) from None

    def release_all(self) -> None:
        """Give every port back. Safe to call twice."""
        self._ports.release_all()


def taken(error: Denied, listener: str | None = None, on: str = "") -> PortTaken:
    """What to say of a port that was denied. ``listener`` is who uses it, ``on`` names another machine."""
    port = error.name
    if error.reason == "twice":
        return PortTaken(
            f"two members of this environment ask for port {port} on {error.address}",
            next_step="give one of them another port, or leave it out to have one chosen",
        )
    if error.reason == "held":
        return PortTaken(
            f"another run holds port {port}{on}",
            seen=introduced(error.holder),
            next_step=f"wait for it, end it, or {_OTHER_PORT}",
        )
    return PortTaken(
        f"port {port} on {error.address} is in use by a program that is not part of a run",
        seen=listener or f"the owner is not ours to see; as root{on}: ss -ltnp 'sport = :{port}'",
        next_step=f"end that program, or {_OTHER_PORT}",
    )


def none_left(error: Exhausted, where: str, on: str = "") -> NoPortsLeft:
    """What to say where no ports are free in the directory ``where``; ``on`` names another machine."""
    low, high = error.span
    return NoPortsLeft(
        f"no {error.count} consecutive free ports between {low} and {high - 1}{on}",
        where=where,
        next_step=f"see who holds them{on}: ss -ltnp, and the .json files in {where}",
    )


def introduced(holder: dict[str, Any]) -> str | None:
    """The holder of a claim in words; None where it is not known."""
    if not holder:
        return None
    minutes = holder["age_s"] / 60
    purpose = f" for {holder['purpose']}" if holder.get("purpose") else ""
    return (
        f"run {holder.get('owner')}, process {holder['pid']}, for {minutes:.1f} min{purpose}, "
        f"started in {holder.get('cwd')}{_afterlife(holder)}"
    )


def _afterlife(holder: dict[str, Any]) -> str:
    """Of a holder that was killed, what keeps its devices from being free."""
    if "left" not in holder:
        return ""
    left = ", ".join(map(str, holder["left"]))
    return f"; it was killed, and {f'left processes {left}' if left else 'what it left is being ended'}"


def _lock(path: Path) -> FileLock | None:
    lock = FileLock(path, mode=0o666, thread_local=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    return lock


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
