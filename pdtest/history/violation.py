"""What a history shows that must never happen."""

from __future__ import annotations

from dataclasses import dataclass

from pdtest.events.record import Event


@dataclass(frozen=True, kw_only=True)
class Violation:
    """An invariant that does not hold. ``events`` are those that it takes to see that, in their order."""

    invariant: str
    text: str
    events: tuple[Event, ...] = ()

    def __str__(self) -> str:
        return f"{self.invariant}: {self.text}"
