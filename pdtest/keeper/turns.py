"""Whose turn it is to use a cluster: one alone, or several who do not mind each other."""

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
    holder: str
    alone: bool
    since: float


class Turns:
    """Given in the order in which they are asked for, so that one who wants to be alone gets there."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._changed = threading.Condition()
        self._held: dict[object, _Turn] = {}
        self._queue: list[object] = []

    def take(
        self, key: object, holder: str, *, alone: bool, within_s: float, note: Callable[[str, float], None]
    ) -> None:
        """Wait for a turn. ``note`` hears about once a second who has it, and for how long (seconds).

        Who has one already gives it back with this. Raises InUse after ``within_s``, and what ``note``
        raises.
        """
        self.give_back(key)
        deadline = time.monotonic() + within_s
        with self._changed:
            self._queue.append(key)
            try:
                while not self._may_begin(key, alone=alone):
                    left = deadline - time.monotonic()
                    if left <= 0:
                        raise InUse(self._name, *self._whose())
                    note(*self._whose())
                    self._changed.wait(min(left, 1.0))
                self._held[key] = _Turn(holder=holder, alone=alone, since=time.monotonic())
            finally:
                self._queue.remove(key)
                self._changed.notify_all()

    def give_back(self, key: object) -> None:
        """Over. Nothing happens for one who had none."""
        with self._changed:
            self._held.pop(key, None)
            self._changed.notify_all()

    @property
    def holders(self) -> tuple[str, ...]:
        """Who uses it now."""
        with self._changed:
            return tuple(turn.holder for turn in self._held.values())

    def _may_begin(self, key: object, *, alone: bool) -> bool:
        if alone:
            return not self._held and self._queue[0] is key
        return self._queue[0] is key and not any(turn.alone for turn in self._held.values())

    def _whose(self) -> tuple[str, float]:
        if not self._held:
            return "somebody who asked before", 0.0
        longest = min(self._held.values(), key=lambda turn: turn.since)
        return longest.holder, time.monotonic() - longest.since
