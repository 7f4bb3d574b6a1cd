"""The line that says how a rank is, every so often: vLLM's, word by word.

As of 0.32 (v1/metrics/loggers.py, LoggingStatLogger.log). Like there, a rank that has done nothing for two
intervals says nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass

from pdtest.embedded.engine.statistics import Statistics

_log = logging.getLogger(__name__)


@dataclass
class RankLine:
    """What was counted when its line was last written."""

    number: int
    statistics: Statistics
    prompt_tokens: int = 0
    generation_tokens: int = 0
    idle: bool = True

    def next(self, interval_s: float) -> str | None:
        """What to write after ``interval_s`` more seconds; None while it is idle."""
        prompts = self.statistics.by_source["local_compute"]
        prompt_rate = (prompts - self.prompt_tokens) / interval_s
        generation_rate = (self.statistics.generation_tokens - self.generation_tokens) / interval_s
        self.prompt_tokens, self.generation_tokens = prompts, self.statistics.generation_tokens
        was_idle, self.idle = self.idle, not (prompt_rate or generation_rate)
        if self.idle and was_idle:
            return None
        now = self.statistics.gauges()
        return (
            f"Engine {self.number:03d}: Avg prompt throughput: {prompt_rate:.1f} tokens/s, "
            f"Avg generation throughput: {generation_rate:.1f} tokens/s, Running: {now.running} reqs, "
            f"Waiting: {now.waiting} reqs, CPU KV cache usage: {now.usage * 100:.1f}%"
        )


async def log_statistics(ranks: Iterable[Statistics], interval_s: float) -> None:
    """A line for each rank every ``interval_s`` seconds, until cancelled."""
    known = [RankLine(number, statistics) for number, statistics in enumerate(ranks)]
    while True:
        await asyncio.sleep(interval_s)
        for rank in known:
            line = rank.next(interval_s)
            if line is not None:
                _log.info("%s", line)
