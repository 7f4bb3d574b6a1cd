"""Events of judging."""

from __future__ import annotations

from pdtest.events.record import Event


class VerdictReached(Event):
    """A claim was judged. ``findings`` are (check, ruling, text) in the order they were made."""

    test: str
    claim: str
    ruling: str
    findings: tuple[tuple[str, str, str], ...]
    request_ids: tuple[str, ...]
