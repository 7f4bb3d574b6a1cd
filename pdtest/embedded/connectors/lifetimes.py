"""Planted bugs in how long KV lives, by their names, and the switch that says which there is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

#: What --fault-lifetime knows: on prefill, then on decode.
KINDS: Final[Mapping[str, str]] = {
    "early-release": "prefill does not wait for decode: its blocks are free with its answer",
    "reused-in-flight": "the last block is another's by the time that decode reads it",
    "leaked": "blocks are never given back, on the side that has this",
    "notification-lost": "decode does not say that it has read",
    "notification-doubled": "decode says so twice",
    "late-arrival": "decode begins to compute before everything is there",
}


class BadLifetime(ValueError):
    """A word that is none of `KINDS`."""

    def __init__(self, seen: str) -> None:
        super().__init__(f"expected one of {', '.join(sorted(KINDS))}, got {seen!r}")


class Lifetime:
    """Which bug there is at the moment. ``how``: one of `KINDS`, or @ and a file with one; empty: none."""

    def __init__(self, how: str) -> None:
        self._file = Path(how[1:]) if how.startswith("@") else None
        self._text = checked(how) if self._file is None else ""

    def read(self) -> str:
        """The word, read anew each time. Raises BadLifetime."""
        if self._file is None:
            return self._text
        return checked(self._file.read_text(encoding="utf-8").strip()) if self._file.exists() else ""


def checked(text: str) -> str:
    """``text``, if it is a word or nothing. Raises BadLifetime."""
    if text and text not in KINDS:
        raise BadLifetime(text)
    return text
