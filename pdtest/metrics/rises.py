"""What the servers' counters did while a load was on."""

from __future__ import annotations

from typing import Protocol

from pdtest.wire.evidence import Counter


class Rises(Protocol):
    """Two readings of all members, before the load and after: `pdtest.oracle.evidence.Window` is one."""

    def rise(self, counter: Counter) -> float | None:
        """By how much a counter rose, summed over the members of its role; None where it cannot be told."""
        ...

    def gap(self, counter: Counter) -> str | None:
        """Why it cannot."""
        ...
