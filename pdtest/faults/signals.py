"""What a process makes of a signal, as proc(5) shows it."""

from __future__ import annotations

import signal
from pathlib import Path


def ignores(pid: int, number: signal.Signals) -> bool:
    """The kernel drops the signal. False when there is no such process."""
    return bool(_mask(pid, "SigIgn") >> number - 1 & 1)


def is_pending(pid: int, number: signal.Signals) -> bool:
    """It was sent to the process as a whole and no thread has taken it: all block it, or are stopped.

    False when there is no such process.
    """
    return bool(_mask(pid, "ShdPnd") >> number - 1 & 1)


def _mask(pid: int, field: str) -> int:
    """A set of signals: bit 0 is signal 1."""
    try:
        status = (Path("/proc") / str(pid) / "status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    lines = dict(line.split(":", 1) for line in status.splitlines())
    return int(lines.get(field, "0"), 16)
