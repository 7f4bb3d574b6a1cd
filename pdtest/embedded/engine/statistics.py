"""What a data-parallel rank counts, in plain numbers: a step must stay cheap.

With vLLM's meaning as of 0.32 (v1/metrics/stats.py), whose names `metrics` exports them under.
"""

from __future__ import annotations

import itertools
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from pdtest.embedded.engine.record import Record
from pdtest.embedded.engine.sequence import Finish
from pdtest.embedded.engine.sequence import Sequence as EngineSequence

_LATENCY: Final = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0),
    *(120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0),
)
_FIRST_TOKEN: Final = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5),
    *(10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
_BETWEEN_TOKENS: Final = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5),
    *(10.0, 20.0, 40.0, 80.0),
)
_ITERATION: Final = (1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)

#: vLLM's FinishReason has one more than the sequences here.
FINISHED: Final = ("stop", "length", "abort", "error", "repetition")
SOURCES: Final = ("local_compute", "local_cache_hit", "external_kv_transfer")


class Histogram:
    """Counts per bucket, and the sum of what was observed."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def totals(self) -> list[tuple[str, float]]:
        """Upper bound, and how many values were not above it."""
        names = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        return list(zip(names, itertools.accumulate(map(float, self._counts)), strict=True))


@dataclass(frozen=True, kw_only=True)
class Gauges:
    """The state of a rank at one moment. ``waiting`` counts ``loading`` and ``loaded`` ones too."""

    running: int
    waiting: int
    loading: int
    loaded: int
    usage: float
    kv_tokens: int
    preemptions: int


def _tokens(max_model_len: int) -> tuple[int, ...]:
    """1, 2, 5, 10 ... up to the longest context."""
    steps = (one * 10**power for power in range(len(str(max_model_len))) for one in (1, 2, 5))
    return tuple(step for step in steps if step <= max_model_len)


@dataclass(kw_only=True)
class Statistics:
    """What one data-parallel rank counted. ``gauges`` tells its present state."""

    gauges: Callable[[], Gauges]
    max_model_len: int
    prompt_tokens: int = 0
    generation_tokens: int = 0
    queries: int = 0
    hits: int = 0
    external_queries: int = 0
    external_hits: int = 0
    by_source: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SOURCES, 0))
    finished: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FINISHED, 0))
    time_to_first_token: Histogram = field(default_factory=lambda: Histogram(_FIRST_TOKEN))
    inter_token_latency: Histogram = field(default_factory=lambda: Histogram(_BETWEEN_TOKENS))
    e2e_request_latency: Histogram = field(default_factory=lambda: Histogram(_LATENCY))
    queue_time: Histogram = field(default_factory=lambda: Histogram(_LATENCY))
    prefill_time: Histogram = field(default_factory=lambda: Histogram(_LATENCY))
    decode_time: Histogram = field(default_factory=lambda: Histogram(_LATENCY))
    inference_time: Histogram = field(default_factory=lambda: Histogram(_LATENCY))
    iteration_tokens: Histogram = field(default_factory=lambda: Histogram(_ITERATION))
    request_prompt_tokens: Histogram = field(init=False)
    request_generation_tokens: Histogram = field(init=False)

    def __post_init__(self) -> None:
        self.request_prompt_tokens = Histogram(_tokens(self.max_model_len))
        self.request_generation_tokens = Histogram(_tokens(self.max_model_len))

    def looked_up(self, sequence: EngineSequence) -> None:
        """The prefix cache was asked for a prompt."""
        self.queries += len(sequence.prompt)
        self.hits += sequence.cached

    def asked(self, sequence: EngineSequence, promised: int) -> None:
        """The connector was asked for the rest, and promised so many tokens."""
        self.external_queries += len(sequence.prompt) - sequence.cached
        self.external_hits += promised

    @contextmanager
    def step(self) -> Iterator[None]:
        """A step of the engine; the tokens that count while it lasts are its size."""
        before = self.generation_tokens + self.by_source["local_compute"]
        yield
        self.iteration_tokens.observe(self.generation_tokens + self.by_source["local_compute"] - before)

    def token(self, record: Record, now: float) -> None:
        """A token was chosen at ``now``. With the first one the prompt counts."""
        sequence = record.sequence
        self.generation_tokens += 1
        if record.last_token_at:
            self.inter_token_latency.observe(now - record.last_token_at)
        else:
            record.first_token_at = now
            self.time_to_first_token.observe(now - record.queued_at)
            self.prompt_tokens += len(sequence.prompt)
            self.by_source["local_cache_hit"] += sequence.cached
            self.by_source["external_kv_transfer"] += sequence.transferred
            self.by_source["local_compute"] += len(sequence.prompt) - sequence.cached - sequence.transferred
        record.last_token_at = now

    def ended(self, record: Record) -> None:
        """A sequence ended. vLLM 0.32 counts nothing when its client went away."""
        sequence = record.sequence
        if sequence.finish is None or sequence.finish is Finish.ABORT:
            return
        self.finished[sequence.finish] += 1
        self.e2e_request_latency.observe(time.monotonic() - record.queued_at)
        self.request_prompt_tokens.observe(len(sequence.prompt))
        self.request_generation_tokens.observe(len(sequence.output))
        if record.first_token_at:
            self.queue_time.observe(record.scheduled_at - record.queued_at)
            self.prefill_time.observe(record.first_token_at - record.scheduled_at)
            self.decode_time.observe(record.last_token_at - record.first_token_at)
            self.inference_time.observe(record.last_token_at - record.scheduled_at)
