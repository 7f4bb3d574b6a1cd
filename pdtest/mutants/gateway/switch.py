"""The file that says which bug there is: read at each request, so that it can be changed at any time."""

from __future__ import annotations

from pathlib import Path

from pdtest.mutants.gateway.bug import Bug
from pdtest.mutants.gateway.bugs import BUGS, made


class Switch:
    """``KIND`` or ``KIND,after=N`` in a file; absent or empty: no bug."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._text = ""
        self._bug = Bug()
        self._after = self._seen = 0

    def read(self) -> Bug:
        """The bug as the file has it now; the same one for as long as its text is. Raises UnknownBug."""
        text = self._file.read_text(encoding="utf-8").strip() if self._file.exists() else ""
        if text != self._text:
            kind, _, after = text.partition(",after=")
            self._text, self._bug = text, made(kind) if kind else Bug()
            self._after, self._seen = int(after or 0), 0
        return self._bug

    def count(self) -> bool:
        """A client's request more. Whether the first ``after`` of them are over."""
        self._seen += 1
        return self._seen > self._after

    @property
    def ripe(self) -> bool:
        """As `count` said last."""
        return self._seen > self._after


__all__ = ["BUGS", "Switch"]
