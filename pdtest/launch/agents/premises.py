"""Where a run keeps its things on this host, and what this host has."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from pdtest.launch.kin import OWNER_VARIABLE, Kin

_LOCK = "lock"
#: A run that was killed leaves its directory; later runs remove it when it is this old.
_KEEP_S = 24 * 3600.0
_MIB = 1 << 20
_WAIT_S = 0.05
_CHIP = re.compile(r"(nvidia|davinci)(\d+)")


class Unusable(Exception):
    """The directory that was named is not for us to work in. ``kind``: permission, room, busy or other."""

    def __init__(self, kind: str, where: Path, said: str) -> None:
        super().__init__(said)
        self.told = {"kind": kind, "where": str(where), "said": said, "user": _user()}


class Premises:
    """A run's directory on this host."""

    def __init__(self, workdir: str, run: str) -> None:
        self.workdir = Path(os.path.abspath(os.path.expanduser(workdir)))  # noqa: PTH100, PTH111 - as given
        self.root = self.workdir / "runs" / run
        self._lock: int | None = None

    def open(self, free_mib: int) -> None:
        """Make it, and see that there is room. Raises Unusable."""
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            (self.root / ".room").write_bytes(b"\0" * 4096)
        except PermissionError as error:
            raise Unusable("permission", Path(error.filename or self.root), _said(error)) from None
        except OSError as error:
            raise Unusable("other", Path(error.filename or self.root), _said(error)) from None
        free = shutil.disk_usage(self.root).free // _MIB
        if free < free_mib:
            raise Unusable("room", self.root, f"{free} MiB are free, {free_mib} MiB are wanted")

    def enter(self, owner: str, patience_s: float) -> None:
        """Wait until a supervisor that was here before, and all it started, is gone. Raises Unusable.

        It is when its connection broke and ours replaces it.
        """
        deadline = time.monotonic() + patience_s
        descriptor = os.open(self.root / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        kin = Kin({OWNER_VARIABLE: owner})
        while not _locked(descriptor) or kin.scan():
            if time.monotonic() > deadline:
                said = "a supervisor of this run, or what it started, still runs here"
                raise Unusable("busy", self.root, said)
            time.sleep(_WAIT_S)
        self._lock = descriptor

    def clear_old(self) -> None:
        """Remove what runs left that were killed long ago."""
        for other in (self.workdir / "runs").iterdir():
            with suppress(OSError):
                if other != self.root and time.time() - other.stat().st_mtime > _KEEP_S and _idle(other):
                    shutil.rmtree(other)

    def remove(self) -> None:
        """The run is over: nothing of it stays."""
        shutil.rmtree(self.root, ignore_errors=True)


def described() -> dict[str, Any]:
    """What this host is and has. ``chips``: numbers by the names of the drivers' nodes under /dev."""
    chips: dict[str, list[int]] = {}
    for match in filter(None, map(_CHIP.fullmatch, os.listdir("/dev"))):  # noqa: PTH208 - the names
        chips.setdefault(match[1], []).append(int(match[2]))
    return {
        "host": os.uname().nodename,
        "python": sys.executable,
        "version": sys.version.split()[0],
        "cores": os.cpu_count() or 1,
        "chips": chips,
    }


def _idle(directory: Path) -> bool:
    descriptor = os.open(directory / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    try:
        return _locked(descriptor)
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _said(error: OSError) -> str:
    return error.strerror or type(error).__name__


def _user() -> str:
    return os.environ.get("USER") or str(os.getuid())
