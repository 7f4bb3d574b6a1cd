"""What can go wrong between a test and its clients of a store."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pdtest.errors import PdtestError


class Kind(StrEnum):
    """Why a store refused, in words that all stores share."""

    ABSENT = "absent"
    PRESENT = "present"
    LEASED = "leased"
    NO_ROOM = "no room"
    INVALID = "invalid"
    LOST = "lost"
    UNREACHABLE = "unreachable"
    OTHER = "other"


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A store's no to one key. ``code`` is the store's own; 0 where it has none."""

    key: str
    kind: Kind
    code: int = 0
    text: str = ""

    def __str__(self) -> str:
        return f"{self.key!r}: {self.kind} (code {self.code}: {self.text})"


class StoreRefused(PdtestError):
    """A store said no, at once and in words. ``refusal`` says which."""

    title = "store refused"

    def __init__(self, client: str, did: str, refusal: Refusal) -> None:
        self.refusal = refusal
        super().__init__(f"{client} {did} {refusal}")


class StoreClientGone(PdtestError):
    """A client's process ended, or was ended, before it answered."""

    title = "store client gone"


class StoreClientSilent(PdtestError):
    """A client did not answer in time: a call into the store hangs."""

    title = "store client silent"


class StoreClientBroken(PdtestError):
    """A client answered that a call into the store raised, instead of saying what came of it."""

    title = "store client broken"
