"""Readings of data-parallel ranks from a log that grows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pdtest.telemetry.follower import Follower
from pdtest.telemetry.source import RankReading


@dataclass
class LogSource:
    """Reads lines that ``pattern`` finds; its groups are those of `pdtest.environment.load.Watch`.

    ``capacity``: tokens that fit into each rank's KV cache, as far as it is known. vLLM writes a line for
    every rank each VLLM_LOG_STATS_INTERVAL seconds (10 by default), and none for a rank that idles.
    """

    follower: Follower
    pattern: re.Pattern[str]
    capacity: Mapping[str, int] = field(default_factory=dict)
    silent_when_idle: bool = True

    @property
    def name(self) -> str:
        """The file."""
        return str(self.follower.path)

    async def read(self) -> Sequence[RankReading]:
        """What the lines say that were completed meanwhile. Raises LookupError while there is no file."""
        if not self.follower.path.exists():
            raise LookupError(f"there is no file {self.follower.path}")
        return list(self._readings())

    def _readings(self) -> Iterator[RankReading]:
        for line in self.follower.lines():
            found = self.pattern.search(line)
            if found is not None:
                yield self._reading(found.groupdict())

    def _reading(self, said: Mapping[str, str | None]) -> RankReading:
        # "000" is what the label of the metric calls "0".
        rank = (said.get("rank") or "0").lstrip("0") or "0"
        usage, tokens = _number(said.get("usage")), _number(said.get("tokens"))
        share = None if usage is None else usage / 100
        capacity = self.capacity.get(rank)
        if tokens is None and share is not None and capacity is not None:
            tokens = share * capacity
        running, waiting = _number(said.get("running")), _number(said.get("waiting"))
        return RankReading(
            rank=rank,
            usage=share,
            tokens=tokens,
            running=None if running is None else int(running),
            waiting=None if waiting is None else int(waiting),
        )


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
