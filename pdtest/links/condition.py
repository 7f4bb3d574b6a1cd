"""What a link is like at the moment: data that a relay acts by. One direction may differ from the other."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Manner(StrEnum):
    """What becomes of connections.

    CARRIES: they reach the other side. HALF_OPEN: they are accepted, nobody ever answers, and what is sent is
    lost. RESETS: all are ended with a RST, new ones at once. REFUSES: nobody listens; existing ones go on.
    """

    CARRIES = "carries"
    HALF_OPEN = "half-open"
    RESETS = "resets"
    REFUSES = "refuses"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One direction of a link. Seconds and bytes.

    ``jitter_s``: up to so much is added to the latency, evenly; bytes stay in order. ``slice_bytes``: pieces
    are no longer than this, and ``pause_s`` apart. ``is_cut``: nothing is carried while it lasts, and
    everything later, as after a short outage; connections stay open.
    """

    latency_s: float = 0.0
    jitter_s: float = 0.0
    bytes_per_s: float | None = None
    slice_bytes: int | None = None
    pause_s: float = 0.0
    is_cut: bool = False

    @property
    def is_plain(self) -> bool:
        """Bytes may go straight through."""
        return self == _PLAIN


_PLAIN = Line()


@dataclass(frozen=True, kw_only=True)
class Condition:
    """Both directions: ``up`` to the member that is connected to, ``down`` back from it."""

    up: Line = _PLAIN
    down: Line = _PLAIN
    manner: Manner = Manner.CARRIES


HEALTHY = Condition()
