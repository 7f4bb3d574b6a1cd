"""The smallest history that still shows a violation: what a person can read."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pdtest.events.record import Event
from pdtest.history.history import History
from pdtest.history.invariants import INVARIANTS
from pdtest.history.violation import Violation

_Shows = Callable[[Sequence[Event]], bool]


def smallest(history: History, violation: Violation) -> History:
    """Of the events of ``history`` as few as possible with which ``violation``'s invariant is still broken.

    Delta debugging (Zeller and Hildebrandt, 2002) over events, begun with those that the violation names and
    what they rest on. None of those that are left can be left out.
    """
    invariant = INVARIANTS[violation.invariant]

    def shows(events: Sequence[Event]) -> bool:
        return any(found.invariant == violation.invariant for found in invariant(History.of(events)))

    own = [event for event in history.events if event in violation.events]
    return History.of(_reduced(own if shows(own) else list(history.events), shows))


def _reduced(events: list[Event], shows: _Shows) -> list[Event]:
    parts = 2
    while len(events) > 1:
        size = -(-len(events) // parts)
        without = (events[:start] + events[start + size :] for start in range(0, len(events), size))
        smaller = next((rest for rest in without if shows(rest)), None)
        if smaller is not None:
            events, parts = smaller, max(parts - 1, 2)
        elif size == 1:
            break
        else:
            parts = min(parts * 2, len(events))
    return events
