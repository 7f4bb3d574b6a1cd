"""One thing that was looked at, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pdtest.errors import PdtestError


class State(StrEnum):
    """How it is. A note stops nobody: it is slower than need be, or cannot be told from here."""

    FINE = "fine"
    NOTE = "note"
    WRONG = "wrong"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """``area``: what was looked at, in a word. ``remedy``: what to do; of fine things nothing."""

    area: str
    state: State
    fact: str
    remedy: str = ""


def fine(area: str, fact: str) -> Finding:
    """As it should be."""
    return Finding(area=area, state=State.FINE, fact=fact)


def note(area: str, fact: str, remedy: str) -> Finding:
    """Worth knowing."""
    return Finding(area=area, state=State.NOTE, fact=fact, remedy=remedy)


def wrong(area: str, fact: str, remedy: str) -> Finding:
    """To be mended before tests can run."""
    return Finding(area=area, state=State.WRONG, fact=fact, remedy=remedy)


def from_error(area: str, error: PdtestError) -> Finding:
    """What starting the members would have failed with."""
    told = [error.summary, f"expected: {error.expected}", f"seen: {error.seen}", f"where: {error.where}"]
    known = [True, error.expected, error.seen, error.where]
    fact = "\n".join(text for text, there in zip(told, known, strict=True) if there)
    return wrong(area, fact, error.next_step or "see what is expected above, and give it that")
