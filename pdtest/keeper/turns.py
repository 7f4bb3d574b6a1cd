"""Whose turn it is to use a cluster."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from pdtest.errors import PdtestError


class InUse(PdtestError):
    """Somebody else uses the cluster."""

    title = "in use"

    def __init__(self, name: str, holder: str, for_s: float) -> None:
        self.holder = holder
        super().__init__(
            f"'{name}' is used by somebody else",
            seen=f"{holder}, for {for_s:.0f} s",
            next_step="wait for it (--cluster-wait), end it, or start members of your own (--fresh)",
        )


@dataclass(frozen=True, kw_only=True)
class _Turn:
    key: object
    holder: str
    since: float


class Turns:
    """One at a time, in the order in which they asked."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._changed = threading.Condition()
        self._held: _Turn | None = None
        self._queue: list[object] = []

    def take(self, key: object, holder: str, *, within_s: float, note: Callable[[str, float], None]) -> None:
        """Wait for a turn. ``note`` hears about once a second who has it, and for how long (seconds).

        Who has one already gives it back with this. Raises InUse after ``within_s``, and what ``note``
        raises.
        """
        self.give_back(key)
        deadline = time.monotonic() + within_s
        with self._changed:
            self._queue.append(key)
            try:
                while self._held is not None or self._queue[0] is not key:
                    left = deadline - time.monotonic()
                    if left <= 0:
                        raise InUse(self._name, *self._whose())
                    note(*self._whose())
                    self._changed.wait(min(left, 1.0))
                self._held = _Turn(key=key, holder=holder, since=time.monotonic())
            finally:
                self._queue.remove(key)
                self._changed.notify_all()

    def give_back(self, key: object) -> None:
        """Over. Nothing happens for one who had none."""
        with self._changed:
            if self._held is not None and self._held.key is key:
                self._held = None
            self._changed.notify_all()

    @property
    def holders(self) -> tuple[str, ...]:
        """Who uses it now: nobody or one."""
        with self._changed:
            return () if self._held is None else (self._held.holder,)

    def _whose(self) -> tuple[str, float]:
        if self._held is None:
            return "somebody who asked before", 0.0
        return self._held.holder, time.monotonic() - self._held.since
