"""Claims on devices of a machine: all that are asked for, or none.

Nobody holds some while waiting for others, so that runs that want the same ones in part cannot wait for each
other. A device is free only when whoever used it last is provably gone: its reaper has let go of the lock as
well, and no process carries the run's tag.

Standard library only, Python 3.10.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from pdtest.launch.claims import Claims, Denied, FlockLock
from pdtest.launch.kin import OWNER_VARIABLE, Kin

_GATE = "devices.lock"
#: Taking takes milliseconds. Who stands in the gate for longer was stopped there, and nobody waits for that.
_AT_THE_GATE_S = 3.0
_LOOK_S = 0.005


class Heir(Protocol):
    """Has a part in each lock, and lets go of it after us: `Guard`, and `agents.net.Net`."""

    def holds(self, name: str, lock: int) -> None:
        """Gets the descriptor of a lock."""
        ...

    def frees(self, name: str) -> None:
        """Lets go."""
        ...


class DeviceClaims:
    """Devices of this machine that one owner holds, by names such as ``cuda-0``."""

    def __init__(self, owner: str, claims: Claims, heir: Heir) -> None:
        self._owner = owner
        self._claims = claims
        self._heir = heir

    def take(self, wanted: Mapping[str, str]) -> None:
        """Hold all of ``wanted``, purposes by name, from now on. Raises Denied: then none that we had not."""
        taken: list[str] = []
        with self._gate():
            try:
                for name, purpose in sorted(wanted.items()):
                    if name not in self._claims:
                        self._take(name, purpose)
                        taken.append(name)
            except Denied:
                for name in taken:
                    self._claims.release(name)
                raise
        for name in taken:
            lock = self._claims.lock(name)
            assert isinstance(lock, FlockLock)  # noqa: S101 - claims on devices are made with these
            self._heir.holds(name, lock.descriptor)

    def free(self, names: Collection[str]) -> None:
        """Give them back."""
        for name in names:
            self._heir.frees(name)
            self._claims.release(name)

    def _take(self, name: str, purpose: str) -> None:
        last = self._claims.last_holder(name)
        if last.get("owner") != self._owner and (killed := survived(self._claims, name)):
            raise Denied(name, "held", holder=killed)
        if not self._claims.take(name, purpose):
            raise Denied(name, "held", holder=self._claims.holder(name) or _killed(last))

    @contextmanager
    def _gate(self) -> Iterator[None]:
        """One takes at a time: what is held for a moment, until another is denied, is seen by nobody."""
        path, deadline = self._claims.directory / _GATE, time.monotonic() + _AT_THE_GATE_S
        self._claims.prepare()
        while (gate := FlockLock.take(path)) is None and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        try:
            yield
        finally:
            if gate is not None:
                gate.release()


def device_name(kind: str, device: int) -> str:
    """What a device's claim is called, on every machine."""
    return f"{kind}-{device}"


def survived(claims: Claims, name: str) -> Mapping[str, Any]:
    """Who had ``name`` and was killed, with the pids of what it ``left``; empty where nothing still runs."""
    last = claims.last_holder(name)
    if not last or claims.holder(name):
        return {}
    left = [process.pid for process in Kin({OWNER_VARIABLE: str(last.get("owner"))}).scan()]
    return {**last, "left": left} if left else {}


def _killed(last: Mapping[str, Any]) -> Mapping[str, Any]:
    """Who wrote a note and is gone, while what it has left to its reaper is being ended."""
    return {**last, "left": []} if last else {}
