"""Planted bugs of a router, by their names, and the switch that says which there is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

#: What --fault-routing knows.
KINDS: Final[Mapping[str, str]] = {
    "ignore-threshold": "every prompt counts as long",
    "off-by-one": "a prompt of just the threshold does not count as long",
    "swap-sides": "what should be handed over is left to decode, and what is decode's is handed over",
    "always-first": "the first instance of a side gets everything",
    "forget-removed": "an instance that was removed is still sent requests",
    "sticks-too-long": "a session stays with its instance, however long it is silent, and if that is removed",
    "count-requests": "kv_length goes by the number of requests",
}


class BadFault(ValueError):
    """A word that is none of `KINDS`."""

    def __init__(self, seen: str) -> None:
        super().__init__(f"expected one of {', '.join(sorted(KINDS))}, seen {seen!r}")


class Fault:
    """Which bug there is at the moment. ``how``: one of `KINDS`, or @ and a file with one; empty: none."""

    def __init__(self, how: str) -> None:
        self._file = Path(how[1:]) if how.startswith("@") else None
        self._text = checked(how) if self._file is None else ""

    def read(self) -> str:
        """The word, read anew each time. Raises BadFault."""
        if self._file is None:
            return self._text
        try:
            return checked(self._file.read_text(encoding="utf-8").strip())
        except FileNotFoundError:
            return ""


def checked(text: str) -> str:
    """``text``, if it is a word or nothing. Raises BadFault."""
    if text and text not in KINDS:
        raise BadFault(text)
    return text
