"""Who looks on while members start, without having asked for it: how far they are is told to all."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from pdtest.cluster.snapshot import Snapshot
from pdtest.keeper.messages import Ask, Progress
from pdtest.keeper.socket import knock

_LOOK_S: Final = 0.2


class Audience:
    """The keeper's part."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._seats: list[queue.SimpleQueue[Snapshot]] = []

    def tell(self, snapshot: Snapshot) -> None:
        """To everybody who looks on."""
        with self._guard:
            for seat in self._seats:
                seat.put(snapshot)

    def entertain(self, connection: Connection) -> None:
        """Show somebody every start from now on, until they leave. Raises OSError where they just did."""
        seat: queue.SimpleQueue[Snapshot] = queue.SimpleQueue()
        with self._guard:
            self._seats.append(seat)
        try:
            while not connection.poll():  # they say nothing more, so that is their going
                with suppress(queue.Empty):
                    connection.send(Progress(snapshot=seat.get(timeout=_LOOK_S)))
        finally:
            with self._guard:
                self._seats.remove(seat)


def follow(directory: Path, over: threading.Event) -> Iterator[Snapshot]:
    """How far members are, whenever the keeper in ``directory`` starts some, until it ends or ``over``."""
    with suppress(OSError, EOFError), knock(directory) as line:
        line.send(Ask(call="follow"))
        while not over.is_set():
            if line.poll(_LOOK_S):
                told: Progress = line.recv()
                yield told.snapshot
