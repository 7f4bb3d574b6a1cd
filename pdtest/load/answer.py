"""An answer as it comes: bytes and when they came. What they mean is looked up after the load."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Answer:
    """Filled in while it comes. Times are of CLOCK_MONOTONIC, seconds.

    ``parts``: what of its body came, when, and in which read of the socket. ``error``: why there is no
    complete answer; a status other than 200 is not an error here.
    """

    sent_at: float = 0.0
    status: int | None = None
    parts: list[tuple[float, int, bytes]] = field(default_factory=list)
    ended_at: float = 0.0
    error: str | None = None

    @property
    def body(self) -> bytes:
        """All of it."""
        return b"".join(part for _, _, part in self.parts)
