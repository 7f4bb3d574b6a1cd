"""Events of looking at KV."""

from __future__ import annotations

from pdtest.events.record import Event


class XrayTaken(Event):
    """KV of a failed test's requests was looked at.

    ``repeated``: the test's requests were sent once more for it, and ``requests`` are those. ``findings`` has
    for each transfer that differs the request and its diagnosis in words.
    """

    test: str
    repeated: bool
    requests: tuple[str, ...]
    equal: int
    findings: tuple[tuple[str, tuple[str, ...]], ...]
    pictures: tuple[str, ...]
