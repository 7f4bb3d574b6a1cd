"""What xdist's controller shows of the clusters that its workers start: they have no terminal."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pytest

from pdtest.keeper import Standing, follow
from pdtest.plugin.terminal import show
from pdtest.report.progress import Changes, all_ready

_LOOK_S: Final = 0.1


class Onlooker:
    """Looks for keepers in ``places`` and follows what they start, within its context, in threads of its own.

    Lines only, also on a terminal: results of other tests come between them.
    """

    def __init__(self, config: pytest.Config, places: Sequence[Path]) -> None:
        self._config = config
        self._places = places
        self._over = threading.Event()
        self._looking = threading.Thread(target=self._look, daemon=True, name="pdtest-onlooker")

    def __enter__(self) -> Self:
        """Begin to look."""
        self._looking.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is shown after this."""
        self._over.set()
        self._looking.join()

    def _look(self) -> None:
        following: dict[Standing, threading.Thread] = {}
        while not self._over.wait(_LOOK_S):
            for standing in filter(None, map(Standing.read, self._places)):
                if standing not in following:
                    following[standing] = threading.Thread(target=self._follow, args=(standing,), daemon=True)
                    following[standing].start()
        for thread in following.values():
            thread.join()

    def _follow(self, standing: Standing) -> None:
        """One start after the other; a new one begins where the clock goes back."""
        changes, last = Changes(), None
        for snapshot in follow(standing.directory, self._over):
            begins = last is None or snapshot.elapsed_s < last.elapsed_s
            changes = Changes() if begins else changes
            lines = [*changes.lines(snapshot)]
            if lines and snapshot.members and snapshot.ready:
                lines.append(all_ready(snapshot))
            if begins:
                show(self._config, f"starting {standing.environment}", lines)
            elif lines:
                show(self._config, None, lines)
            last = snapshot
