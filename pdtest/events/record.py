"""The base of every event, and how events become lines of JSON and come back.

Reports, the history checker and comparisons read events and nothing else, so an event holds all
that a later reader needs and nothing that only makes sense while the run is alive.
"""

from __future__ import annotations

import time
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

_KINDS: dict[str, type[Event]] = {}


class Event(BaseModel):
    """Something that happened. Frozen; ``at`` is seconds since the epoch (wall clock)."""

    # There are dozens of kinds; a run tells of some.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    kind: ClassVar[str]
    at: float = Field(default_factory=time.time)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.kind = cls.__name__
        _KINDS[cls.kind] = cls

    def to_json(self) -> dict[str, Any]:
        """The event with its kind, ready for one line of events.jsonl."""
        return {"kind": self.kind, **self.model_dump(mode="json")}


class UnknownEvent(Event):
    """An event of a kind this version does not know: written by a newer pdtest or a plugin."""

    name: str
    data: dict[str, Any]


def from_json(data: dict[str, Any]) -> Event:
    """The typed event behind one line. An unknown kind becomes `UnknownEvent`, never an error."""
    fields = dict(data)
    kind = str(fields.pop("kind", ""))
    known = _KINDS.get(kind)
    if known is None:
        return UnknownEvent(name=kind, data=fields, at=float(fields.get("at", 0.0)))
    return known.model_validate(fields)
