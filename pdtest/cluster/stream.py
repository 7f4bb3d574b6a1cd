"""Streams the members' logs to the terminal while they run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from pdtest.cluster.member import RunningMember
from pdtest.cluster.tail import Tail

_INTERVAL_S = 0.1


class LogStream:
    """Calls ``write("member| line")`` for each new line of captured output, from a thread of its own.

    ``members`` is asked again and again, since a cluster has none before its first start. Leaving
    the context gives what is left, then stops.
    """

    def __init__(
        self, members: Callable[[], Mapping[str, RunningMember]], write: Callable[[str], None]
    ) -> None:
        self._members = members
        self._write = write
        self._tails: dict[str, Tail] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="pdtest-logs", daemon=True)

    def __enter__(self) -> Self:
        """Start to follow. What members said before, in an earlier generation, is not said again."""
        for name, member in self._members().items():
            for _ in self._tail(name, member).read():
                pass
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what is left."""
        self._over.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._over.wait(_INTERVAL_S):
            self._give_new_lines(last=False)
        self._give_new_lines(last=True)

    def _give_new_lines(self, *, last: bool) -> None:
        for name, member in self._members().items():
            for line in self._tail(name, member).read(last=last):
                self._write(f"{name}| {line}")

    def _tail(self, name: str, member: RunningMember) -> Tail:
        if name not in self._tails:
            self._tails[name] = Tail(member.log.path, secrets=member.log.secrets)
        return self._tails[name]
