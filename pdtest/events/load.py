"""Events of loads."""

from __future__ import annotations

from pdtest.events.record import Event


class LoadMeasured(Event):
    """A load was put on an environment. ``numbers`` as reported; None: not known. ``file`` has the rest."""

    environment: str
    test: str
    numbers: dict[str, float | int | None]
    file: str
