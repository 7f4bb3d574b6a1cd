"""A journal whose events several hear of."""

from __future__ import annotations

import queue
import threading
from pathlib import Path

from pdtest.events import Journal, MemberStarting
from pdtest.events.record import Event

#: Ends a listener's queue.
Listener = queue.SimpleQueue[Event | None]


class Broadcast(Journal):
    """Writes as a journal does, and gives each event to whoever listens."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        #: The last start of each member: who comes later must know of it, too.
        self.starts: dict[str, MemberStarting] = {}
        self._listening: list[Listener] = []
        self._guard = threading.Lock()

    def append(self, event: Event) -> None:
        """Write it, then pass it on."""
        super().append(event)
        with self._guard:
            if isinstance(event, MemberStarting):
                self.starts[event.member] = event
            for listener in self._listening:
                listener.put(event)

    def listen(self) -> Listener:
        """Hears all events from now on."""
        listener: Listener = queue.SimpleQueue()
        with self._guard:
            self._listening.append(listener)
        return listener

    def forget(self, listener: Listener) -> None:
        """Hears no more."""
        with self._guard:
            self._listening.remove(listener)

    def close(self) -> None:
        """Close the file and end all listeners."""
        super().close()
        with self._guard:
            for listener in self._listening:
                listener.put(None)
