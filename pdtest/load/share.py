"""What one process of a load's client does of it."""

from __future__ import annotations

from dataclasses import dataclass

from pdtest.load.ask import Ask
from pdtest.load.way import Way


@dataclass(frozen=True, kw_only=True)
class Share:
    """One process's part of a load. ``concurrency``: of a closed loop. ``until_s``: nothing is sent later."""

    worker: int
    asks: tuple[Ask, ...]
    warm_up: tuple[Ask, ...]
    ways: tuple[Way, ...]
    concurrency: int | None
    until_s: float | None
    timeout_s: float
