"""What the engine notes about a sequence while it works on it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import Enum, auto

from pdtest.embedded.engine.blocks import block_hashes
from pdtest.embedded.engine.sampling import Sampler
from pdtest.embedded.engine.sequence import Finish, Sequence


class State(Enum):
    """Where a sequence is."""

    WAITING = auto()  # has no blocks
    LOADING = auto()  # has blocks; the connector is at work
    READY = auto()  # loaded, waits for a place among the running
    RUNNING = auto()
    ENDED = auto()


@dataclass(eq=False, kw_only=True, slots=True)
class Record:
    """A sequence under way. Times are seconds of a monotonic clock, 0 where it has not come to that."""

    sequence: Sequence
    sampler: Sampler
    state: State = State.WAITING
    #: Hashes of its whole blocks, as far as they were needed, and how many of them are in the prefix cache.
    hashes: list[bytes] = field(default_factory=list)
    entered: int = 0
    #: Matching and loading.
    task: asyncio.Task[None] | None = None
    #: The connector was asked; it is not asked again when the sequence was preempted.
    asked: bool = False
    #: How it is to end once the connector is through.
    aborted: Finish | None = None
    queued_at: float = 0.0
    scheduled_at: float = 0.0
    first_token_at: float = 0.0
    last_token_at: float = 0.0

    @property
    def remaining(self) -> int:
        """Tokens whose KV is to be computed until the next one can be chosen."""
        return self.sequence.length - self.sequence.computed

    def tokens(self, start: int, end: int) -> tuple[int, ...]:
        """Those from ``start`` to ``end - 1``, counted over prompt and output."""
        sequence = self.sequence
        prompt = len(sequence.prompt)
        if start >= prompt:
            return tuple(sequence.output[start - prompt : end - prompt])
        return (*sequence.prompt[start:end], *sequence.output[: max(0, end - prompt)])

    def hash_up_to(self, tokens: int, block_size: int) -> list[bytes]:
        """The hashes of the whole blocks among the first ``tokens`` ones."""
        if len(self.hashes) < tokens // block_size:
            self.hashes = block_hashes(self.tokens(0, tokens), block_size, self.hashes)
        return self.hashes[: tokens // block_size]
