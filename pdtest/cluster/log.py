"""A member's logs as lines: what is new since a mark, the last ones, the errors among them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pdtest.services.service import LogRules

#: Enough for any traceback; a log of gigabytes is not read to show its end.
_TAIL_BYTES = 256 * 1024
# Colours and cursor movements (CSI), and window titles (OSC), as in ECMA-48.
_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")


@dataclass(frozen=True, kw_only=True)
class LogMark:
    """A moment in a member's logs: how many bytes of whole lines each file held."""

    offsets: Mapping[Path, int]


@dataclass(frozen=True, kw_only=True)
class MemberLog:
    """The captured output of a member, and the further log files it writes itself.

    Files may be missing, rotate, or hold bytes that are not UTF-8. Colours are removed, a progress
    bar that redraws its line counts as its last drawing, and ``secrets`` are masked.
    """

    path: Path
    further: tuple[Path, ...] = ()
    secrets: frozenset[str] = frozenset()

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files, the captured output first."""
        return (self.path, *self.further)

    def mark(self) -> LogMark:
        """Now. A line that is half written belongs to what comes after."""
        return LogMark(offsets={path: _end_of_whole_lines(path) for path in self.paths})

    def since(self, mark: LogMark) -> list[str]:
        """Lines written after ``mark``, file by file."""
        return [line for path in self.paths for line in self._lines(path, mark)]

    def tail(self, count: int = 25, *, since: LogMark | None = None) -> list[str]:
        """The last ``count`` lines of the captured output, after ``since``, that are not blank."""
        return self._last(self.path, count, since)

    def tails(self, count: int, *, since: LogMark | None = None) -> list[str]:
        """The same of every file, the captured output at the end."""
        return [line for path in reversed(self.paths) for line in self._last(path, count, since)]

    def errors_since(self, mark: LogMark, rules: LogRules) -> list[str]:
        """Lines after ``mark`` that are errors by ``rules``."""
        return [error for path in self.paths for error in rules.errors(self._lines(path, mark))]

    def _lines(self, path: Path, mark: LogMark) -> list[str]:
        return to_lines(_read_from(path, mark.offsets.get(path, 0)), self.secrets)

    def _last(self, path: Path, count: int, since: LogMark | None) -> list[str]:
        offset = since.offsets.get(path, 0) if since else 0
        size = _size(path)
        data = _read_from(path, max(offset, size - _TAIL_BYTES) if offset <= size else 0)
        return [line for line in to_lines(data, self.secrets) if line.strip()][-count:]


def to_lines(data: bytes, secrets: Iterable[str] = ()) -> list[str]:
    """Bytes of a log as clean lines."""
    text = _ANSI.sub("", data.decode("utf-8", errors="replace"))
    for secret in secrets:
        text = text.replace(secret, "***") if secret else text
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return [line.rstrip("\r").rpartition("\r")[2] for line in lines]


def _read_from(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as file:
            # A file that became shorter was rotated: what it holds now is all new.
            file.seek(offset if offset <= _size(path) else 0)
            return file.read()
    except OSError:
        return b""


def _end_of_whole_lines(path: Path) -> int:
    size = _size(path)
    data = _read_from(path, max(0, size - _TAIL_BYTES))
    return size - (len(data) - (data.rfind(b"\n") + 1)) if data else 0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
