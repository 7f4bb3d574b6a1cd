"""Where readings over time come from. Each file of this room that reads something implements `Source`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class RankReading:
    """A data-parallel rank of an engine at one moment.

    ``usage`` is the share of its KV cache in use, 0 to 1; ``tokens`` the same in tokens, None where the
    cache's size is not known. ``running`` and ``waiting`` are requests, None where they were not told.
    """

    rank: str
    usage: float | None
    tokens: float | None
    running: int | None = None
    waiting: int | None = None

    @property
    def length(self) -> float:
        """KV in tokens, or as a share of the cache where its size is not known: equal within a series."""
        return self.tokens if self.tokens is not None else self.usage or 0.0

    @property
    def requests(self) -> int | None:
        """Those that run and those that wait, for their KV too."""
        if self.running is None:
            return None
        return self.running + (self.waiting or 0)


class Source(Protocol):
    """Gives what is new since it was last asked."""

    @property
    def name(self) -> str:
        """What is asked or read: a URL, a path."""
        ...

    @property
    def silent_when_idle(self) -> bool:
        """True for one that says nothing while nothing goes on."""
        ...

    async def read(self) -> Sequence[RankReading]:
        """Newer readings, in their order; empty where there are none yet.

        Raises what keeps it from being read this time; it may be asked again.
        """
        ...
