"""The process that looks at devices and members while a load runs, seen from the process that loads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pdtest.results.monitor import Monitor
from pdtest.telemetry.settings import Settings


class Telemetry:
    """Looks since it was made. Loads may be cut out of what it saw, any number, while it looks and after."""

    def monitors(
        self, begun_monotonic_s: float, until_monotonic_s: float | None = None
    ) -> tuple[Monitor, ...]:
        """What was seen of each device and member from the beginning of a load to its end, or to now.

        Times become the load's: ``begun_monotonic_s`` (of ``time.monotonic()``) is 0. The readings just
        before and just after come with it, so that energy can be told for the whole span.
        """
        raise NotImplementedError


@contextmanager
def telemetry(settings: Settings, *, directory: Path | None = None) -> Iterator[Telemetry]:
    """Look at what ``settings`` name for as long as the context lasts, from a process of its own.

    ``directory``: where it writes, kept; without it, somewhere that is removed at the end.
    Raises TelemetryFailed where the process does not come up. What cannot be looked at is no error:
    its monitor says why under ``missing``.
    """
    raise NotImplementedError
