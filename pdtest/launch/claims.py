"""Who holds which port and which device of a machine: the part that needs nothing but Python.

A claim is a lock on a file, which the kernel frees when its holder dies, however it dies. Beside each
lock a small JSON file says who holds it, so that a refusal can name the holder. The directory is shared
by all users of the machine, and by runs that lease there from afar (`agents/supervisor.py`).

Standard library only, Python 3.10.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import random
import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from pdtest.launch.kin import look_up

DIRECTORY_VARIABLE = "PDTEST_LEASE_DIR"
#: Below this, ports that well-known programs use by habit are frequent.
LOWEST_PORT = 10_000
_EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_USUAL_EPHEMERAL_START = 32_768


class Denied(Exception):
    """A claim that cannot be had.

    ``reason``: ``held`` by another run (``holder`` is what it wrote of itself, empty where it has ended or
    nothing is known), ``bound`` by a program that is part of no run, ``twice`` by the same run.
    """

    def __init__(self, name: str, reason: str, address: str = "", holder: Mapping[str, Any] = {}) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason
        self.address = address
        self.holder = dict(holder)


class Exhausted(Exception):
    """There are no ``count`` free ports in a row in ``span``, whose end is not part of it."""

    def __init__(self, count: int, span: tuple[int, int]) -> None:
        super().__init__(f"no {count} ports in {span}")
        self.count = count
        self.span = span


class Lock(Protocol):
    """What is held of a lock file."""

    def release(self) -> None:
        """Let go."""
        ...


#: Takes the lock on a file, or None where somebody else has it.
Locking = Callable[[Path], "Lock | None"]


class FlockLock:
    """flock(2) on a file that stays where it is: what filelock does, which other runs use."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, path: Path) -> FlockLock | None:
        """The lock on ``path``, made if need be; None where it is held."""
        descriptor = _opened(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
        return cls(descriptor)

    @property
    def descriptor(self) -> int:
        """Whoever has it, or a copy of it, has the lock."""
        return self._descriptor

    def release(self) -> None:
        """Let go. Who has a copy of the descriptor goes on holding it."""
        os.close(self._descriptor)


class Claims:
    """What one owner holds in a directory of claims, by name."""

    def __init__(self, owner: str, directory: Path, locking: Locking = FlockLock.take) -> None:
        self.directory = directory
        self._owner = owner
        self._locking = locking
        self._locks: dict[str, Lock] = {}

    def __contains__(self, name: str) -> bool:
        """True for what we hold."""
        return name in self._locks

    def prepare(self) -> None:
        """Make the directory, for all users of the machine."""
        if not self.directory.is_dir():
            self.directory.mkdir(parents=True, exist_ok=True)
            with suppress(PermissionError):  # another user made it in this very moment, and sets its mode
                self.directory.chmod(0o1777)

    def take(self, name: str, purpose: str = "") -> bool:
        """Hold ``name`` from now on. False where somebody has it already."""
        self.prepare()
        try:
            lock = self._locking(self.directory / f"{name}.lock")
        except PermissionError:
            return False
        if lock is None:
            return False
        self._locks[name] = lock
        self._introduce(name, purpose)
        return True

    def release(self, name: str) -> None:
        """Give it back."""
        note = self._note(name)
        try:
            note.unlink()
        except OSError:  # another user made it: in a sticky directory nobody else may remove it
            with suppress(OSError):
                os.truncate(note, 0)
        self._locks.pop(name).release()

    def release_all(self) -> None:
        """Give everything back. Safe to call twice."""
        for name in list(self._locks):
            self.release(name)

    def holder(self, name: str) -> dict[str, Any]:
        """What the living holder of ``name`` wrote of itself, with its age in seconds; empty: not known."""
        holder = self.last_holder(name)
        return holder if holder and _lives(holder) else {}  # a note can outlive its claim

    def last_holder(self, name: str) -> dict[str, Any]:
        """The same of one that may have been killed: who gives ``name`` back leaves nothing behind."""
        try:
            holder = json.loads(self._note(name).read_text(encoding="utf-8"))
            return {**holder, "pid": int(holder["pid"]), "age_s": time.time() - float(holder["since"])}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def lock(self, name: str) -> Lock:
        """The lock of a name that we hold."""
        return self._locks[name]

    def _note(self, name: str) -> Path:
        return self.directory / f"{name}.json"

    def _introduce(self, name: str, purpose: str) -> None:
        ours = look_up(os.getpid())
        holder = {
            "owner": self._owner,
            "pid": os.getpid(),
            "started": ours.started if ours is not None else None,
            "since": time.time(),
            "cwd": os.getcwd(),  # noqa: PTH109 - Path.cwd() is the same call
            "purpose": purpose,
        }
        with suppress(OSError), open(_opened(self._note(name)), "r+", encoding="utf-8") as note:
            note.truncate()  # of one who was killed
            note.write(json.dumps(holder))


class PortClaims:
    """Ports of this machine that one owner holds, none of which anybody listens on when it is given."""

    def __init__(self, claims: Claims, span: tuple[int, int] | None = None) -> None:
        self._claims = claims
        self._span = span
        self._given: set[tuple[str, int]] = set()

    def take(self, count: int, address: str) -> int:
        """The first of ``count`` free ports in a row. Raises Exhausted.

        They lie below the range from which the kernel serves outgoing connections, so that none
        of those can slip in before the member binds. The search starts at random: runs that start
        together spread out.
        """
        low, high = span = self._span or usual_span()
        width = high - low - count + 1
        start = random.randrange(width) if width > 0 else 0  # noqa: S311 - spreading, not secrecy
        first = 0
        while first < width:
            base = low + (start + first) % width
            blocked = self._take_all(base, count, address)
            if blocked is None:
                return base
            first += blocked - base + 1
        raise Exhausted(count, span)

    def claim(self, port: int, address: str) -> None:
        """Hold a port that somebody chose. Raises Denied."""
        name = str(port)
        if (address, port) in self._given:
            raise Denied(name, "twice", address)
        if name not in self._claims and not self._claims.take(name):
            raise Denied(name, "held", address, self._claims.holder(name))
        if not bindable(port, address):
            if not any(port == given for _, given in self._given):
                self._claims.release(name)
            raise Denied(name, "bound", address)
        self._given.add((address, port))

    def release_all(self) -> None:
        """Give every port back. Safe to call twice."""
        self._claims.release_all()
        self._given.clear()

    def _take_all(self, base: int, count: int, address: str) -> int | None:
        """None when all are held, otherwise the port that stood in the way."""
        for port in range(base, base + count):
            name = str(port)
            if name in self._claims or not self._claims.take(name):
                blocked = port
            elif bindable(port, address) and bindable(port, "0.0.0.0"):  # noqa: S104 - asked, not served
                continue
            else:
                self._claims.release(name)
                blocked = port
            for taken in range(base, port):
                self._claims.release(str(taken))
            return blocked
        self._given.update((address, port) for port in range(base, base + count))
        return None


def default_directory() -> Path:
    """Where this machine's claims are: ``$PDTEST_LEASE_DIR``, or pdtest-leases in the temp directory."""
    return Path(os.environ.get(DIRECTORY_VARIABLE) or Path(tempfile.gettempdir()) / "pdtest-leases")


def usual_span() -> tuple[int, int]:
    """First port to use, and the one after the last."""
    try:
        ephemeral = int(_EPHEMERAL_RANGE.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        ephemeral = _USUAL_EPHEMERAL_START
    # A machine that hands out nearly all ports leaves no room below; then the bind check has to do.
    return LOWEST_PORT, ephemeral if ephemeral > LOWEST_PORT + 1000 else _USUAL_EPHEMERAL_START


def bindable(port: int, address: str) -> bool:
    """Whether a server could listen there now. An address of another machine says nothing: True."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # Servers set it: TIME_WAIT is no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            probe.listen(1)  # two may bind with SO_REUSEADDR; only one may listen
        except (OSError, OverflowError) as error:
            return getattr(error, "errno", None) not in {errno.EADDRINUSE, errno.EACCES}
    return True


def _opened(path: Path) -> int:
    """A descriptor of a file that all users of the machine may write, made if need be."""
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        # Only here O_CREAT: in a sticky directory the kernel forbids it for files of other users.
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_CREAT, 0o666)
        with suppress(OSError):
            os.fchmod(descriptor, 0o666)
        return descriptor


def _lives(holder: Mapping[str, Any]) -> bool:
    """Its process runs; another that has its pid by now is not it."""
    process = look_up(holder["pid"])
    return process is not None and not process.ended and holder.get("started") in {None, process.started}
