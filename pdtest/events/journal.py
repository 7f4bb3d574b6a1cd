"""The run's events.jsonl: appended to while the run lives, read back by everything else."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

from pdtest.events.record import Event, from_json


class Journal:
    """Appends events to a file, one line each, from any thread.

    Each line is written with a single call and flushed, so that a kill -9 leaves whole lines and at
    most one torn line at the end, which `read` leaves out.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._file = path.open("a", encoding="utf-8")

    def append(self, event: Event) -> None:
        """Write one event. Does nothing after `close`, so that late callers cannot fail a run."""
        line = json.dumps(event.to_json(), ensure_ascii=False) + "\n"
        with self._lock:
            if self._file.closed:
                return
            self._file.write(line)
            self._file.flush()

    def mark(self) -> int:
        """Where it ends now, for `read` to begin at."""
        with self._lock:
            return self.path.stat().st_size

    def close(self) -> None:
        """Close the file; safe to call twice."""
        with self._lock:
            self._file.close()


def read(path: Path, *, since: int = 0, kind: type[Event] = Event) -> Iterator[Event]:
    """The events of a journal in order: from a `Journal.mark` on, all or those of one ``kind``.

    A torn last line, left by a kill -9, is left out. Lines of other kinds cost next to nothing.
    """
    wanted = b"" if kind is Event else f'{{"kind": "{kind.kind}"'.encode()
    with path.open("rb") as lines:
        lines.seek(since)
        for line in lines:
            if not line.endswith(b"\n"):
                return
            if line.startswith(wanted):
                yield from_json(json.loads(line))
