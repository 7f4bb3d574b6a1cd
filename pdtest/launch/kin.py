"""Finds every process that a member started, however far it moved away.

A process belongs to a member when one of these holds: it is in the session the member was started
in; its environment carries the member's (or the run's) tags, which everything inherits that a
member starts, setsid or not; its parent belongs; or it belonged before. Each alone misses some: a
daemon leaves the session, a program that renames itself may overwrite its environment, a child's
parent may be gone.

Standard library only, and Linux only (it reads /proc): the reaper runs this without site-packages.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

#: Carried by everything a run starts; its value is unique to the run.
OWNER_VARIABLE = "PDTEST_OWNER"
#: Carried by everything a member starts; its value is the member's directory.
MEMBER_VARIABLE = "PDTEST_MEMBER"

_PROC = Path("/proc")
_ENDED = frozenset("ZX")  # zombies hold no memory, ports or devices; whoever started them collects them


@dataclass(frozen=True, kw_only=True)
class Kinsman:
    """One process. ``started`` (clock ticks since boot) tells it from a later one with its pid."""

    pid: int
    parent: int
    group: int
    session: int
    started: int
    ended: bool

    def send(self, number: int) -> bool:
        """Signal the process, and say whether the kernel took the signal for it.

        That it ended in the meantime or is not ours to signal is no error.
        """
        with suppress(ProcessLookupError, PermissionError):
            os.kill(self.pid, number)
            return True
        return False


def look_up(pid: int) -> Kinsman | None:
    """The process with this pid, or None when there is none. Fields as in proc(5), /proc/pid/stat."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The second field is the program's name in brackets, which may itself hold blanks and brackets.
    fields = stat[stat.rindex(")") + 2 :].split()
    return Kinsman(
        pid=pid,
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        started=int(fields[19]),
        ended=fields[0] in _ENDED,
    )


class Kin:
    """The processes of one member, or of a whole run, found afresh by each `scan`."""

    def __init__(self, tags: Mapping[str, str]) -> None:
        self._tags = [f"{name}={value}".encode() for name, value in tags.items()]
        self._leaders: dict[int, int] = {}
        self._known: dict[int, int] = {}

    def lead(self, pid: int) -> None:
        """Take in the session that process ``pid`` leads."""
        leader = look_up(pid)
        if leader is not None:
            self._leaders[pid] = leader.started

    def leave(self, pid: int) -> None:
        """Let go of the session that process ``pid`` led: it is over, and the pid may be used again."""
        self._leaders.pop(pid, None)

    def scan(self) -> list[Kinsman]:
        """Those alive now, never the calling process itself."""
        table = {process.pid: process for process in _processes()}
        found = {pid for pid, process in table.items() if self._belongs(process, table)}
        _add_descendants(found, table)
        found.discard(os.getpid())
        alive = [table[pid] for pid in sorted(found) if not table[pid].ended]
        self._known = {process.pid: process.started for process in alive}
        return alive

    def _belongs(self, process: Kinsman, table: Mapping[int, Kinsman]) -> bool:
        if process.ended:
            return False
        if self._known.get(process.pid) == process.started:
            return True
        return self._in_session(process, table) or self._is_tagged(process.pid)

    def _in_session(self, process: Kinsman, table: Mapping[int, Kinsman]) -> bool:
        started = self._leaders.get(process.session)
        if started is None:
            return False
        # The kernel gives no process the pid of a living session, so without a leader it is still
        # ours; a leader that started at another time means that the session ended and the pid came back.
        leader = table.get(process.session)
        return leader is None or leader.started == started

    def _is_tagged(self, pid: int) -> bool:
        try:
            environ = (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
        except OSError:
            return False
        return all(tag in environ for tag in self._tags)


def _processes() -> Iterable[Kinsman]:
    for name in os.listdir(_PROC):  # noqa: PTH208 - the names are wanted, and this runs often
        if name.isdigit() and (process := look_up(int(name))) is not None:
            yield process


def _add_descendants(found: set[int], table: Mapping[int, Kinsman]) -> None:
    grown = True
    while grown:
        children = {pid for pid, process in table.items() if process.parent in found} - found
        found |= children
        grown = bool(children)
