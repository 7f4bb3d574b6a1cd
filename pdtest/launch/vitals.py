"""A process as proc(5) shows it, and signals to it.

Travels to hosts without pdtest: standard library only.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pdtest.launch.kin import Kinsman, look_up

_PROC = Path("/proc")
#: The state of what is no more.
GONE = "X"
_ENDED = frozenset(f"Z{GONE}")


@dataclass(frozen=True, kw_only=True)
class Vitals:
    """One process at one moment. ``started`` (clock ticks since boot) tells it from a later one with its pid.

    ``state``: the letter of proc(5), X when there is no such process any more. ``command``: what it was
    started with, or calls itself. ``ignored``, ``pending``: sets of signals, bit 0 is signal 1; pending are
    those that were sent to the process as a whole, and that no thread has taken.
    """

    pid: int
    started: int
    state: str
    command: str = ""
    ignored: int = 0
    pending: int = 0

    @property
    def ended(self) -> bool:
        """It is gone, its pid is another's, or it only waits to be collected."""
        return self.state in _ENDED

    @property
    def stopped(self) -> bool:
        """By SIGSTOP or the like."""
        return self.state == "T"

    def ignores(self, number: signal.Signals) -> bool:
        """The kernel drops the signal."""
        return bool(self.ignored >> number - 1 & 1)

    def has_waiting(self, number: signal.Signals) -> bool:
        """The signal was sent to it and not taken: all threads block it, or are stopped."""
        return bool(self.pending >> number - 1 & 1)


def look_at(pid: int, started: int) -> Vitals:
    """The process with this pid, if it is the one that started then."""
    now = look_up(pid)
    if now is None or now.started != started:
        return Vitals(pid=pid, started=started, state=GONE)
    try:
        status = (_PROC / str(pid) / "status").read_text(encoding="utf-8", errors="replace")
        command = (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return Vitals(pid=pid, started=started, state=GONE)
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return Vitals(
        pid=pid,
        started=started,
        state=fields["State"].strip()[0],
        command=command.strip(),
        ignored=int(fields.get("SigIgn", "0"), 16),
        pending=int(fields.get("ShdPnd", "0"), 16),
    )


def look_at_all(kin: Iterable[Kinsman]) -> list[Vitals]:
    """All of them that live still, the first that started first."""
    seen = (look_at(process.pid, process.started) for process in kin)
    return sorted((one for one in seen if not one.ended), key=lambda one: (one.started, one.pid))


def send(pid: int, started: int, number: int) -> bool:
    """Signal the process, if it is the one that started then; whether the kernel took the signal for it."""
    now = look_up(pid)
    if now is None or now.started != started or now.ended:
        return False
    return now.send(number)
