"""Follows a file that somebody else writes: it grows, is cut off, is moved away and begun anew."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO, Self

#: So much is read at once at most: a log that is gigabytes long must not fill our memory.
_PIECE = 1 << 20


class Follower:
    """New whole lines, each given once.

    The file may appear later. What a program writes into a file that was renamed is read to its end before
    the new one is begun. A line counts once its newline is there; of one that is cut off by truncation
    nothing is given. ``from_start`` False leaves out what was there before.
    """

    def __init__(self, path: Path, *, from_start: bool = False) -> None:
        self.path = path
        self._file: BinaryIO | None = None
        self._skip = not from_start
        self._torn = b""

    def __enter__(self) -> Self:
        """Begins to follow."""
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        """Lets go of the file."""
        self._close()

    def lines(self) -> list[str]:
        """Lines completed since the call before. Raises OSError other than that it is not there."""
        found = self._read()
        if self._replaced():
            # Between the reading and the look somebody may have written to the old one.
            found += self._read()
            self._close()
            self._open()
            found += self._read()
        return found

    def _open(self) -> None:
        try:
            # Closed by _close: it is read from in many calls.
            self._file = self.path.open("rb")
        except FileNotFoundError:
            # What appears from now on is new.
            self._skip = False
            return
        if self._skip:
            self._to_last_line(self._file)
        self._skip = False

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file, self._torn = None, b""

    @staticmethod
    def _to_last_line(file: BinaryIO) -> None:
        """To the end, but before a line that is being written: its rest alone would say nothing."""
        end = file.seek(0, os.SEEK_END)
        file.seek(max(end - _PIECE, 0))
        file.seek(-len(file.read().rpartition(b"\n")[2]), os.SEEK_CUR)

    def _read(self) -> list[str]:
        if self._file is None:
            return []
        if os.fstat(self._file.fileno()).st_size < self._file.tell():
            self._file.seek(0)
            self._torn = b""
        found: list[str] = []
        while piece := self._file.read(_PIECE):
            whole, newline, self._torn = (self._torn + piece).rpartition(b"\n")
            if newline:
                found += whole.decode("utf-8", errors="replace").splitlines()
        return found

    def _replaced(self) -> bool:
        """Whether another file has the name by now; also where there was none."""
        try:
            there = self.path.stat()
        except FileNotFoundError:
            return False
        if self._file is None:
            return True
        mine = os.fstat(self._file.fileno())
        return (there.st_ino, there.st_dev) != (mine.st_ino, mine.st_dev)
