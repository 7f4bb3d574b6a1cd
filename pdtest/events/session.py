"""Events of a session of pytest: its beginning, its tests, its end.

With these a report is made again from a run's directory alone.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from pdtest.events.record import Event


class RunBegan(Event):
    """pytest needs a cluster. ``argv`` as typed, ``versions`` of what matters by package."""

    run: str
    seed: str
    argv: tuple[str, ...]
    environments: tuple[str, ...]
    host: str
    system: str
    processor: str
    cores: int | None
    memory_bytes: int
    python: str
    versions: dict[str, str]


class TestEnded(Event):
    """A test is over, its teardown included.

    ``outcome``: ``passed``, ``failed``, ``skipped``, ``xfailed``, ``xpassed``, ``error`` (in setup or
    teardown), ``inconclusive``, ``unschedulable``, or what a planted bug came to. ``message`` is its first
    line, ``text`` what pytest shows, ``sections`` what was added to that (title, text); long ones have lost
    their beginning. ``properties`` are those of junit.xml.
    """

    __test__: ClassVar[bool] = False

    test: str
    environment: str | None
    outcome: str
    took_s: float
    message: str = ""
    text: str = ""
    sections: tuple[tuple[str, str], ...] = ()
    properties: dict[str, Any] = Field(default_factory=dict)


class RunEnded(Event):
    """All is stopped. ``status`` is pytest's exit status."""

    status: int
    took_s: float
