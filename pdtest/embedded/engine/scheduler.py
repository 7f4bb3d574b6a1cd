"""Who gets blocks, and which tokens are computed next."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from pdtest.embedded.engine.blocks import Blocks
from pdtest.embedded.engine.record import Record, State


@dataclass(frozen=True, slots=True)
class Chunk:
    """``count`` tokens of a sequence that are computed in a step, from ``sequence.computed`` on."""

    record: Record
    count: int


class Scheduler:
    """First come, first served; the last to come makes room when blocks run out.

    A sequence gets the blocks for all its tokens when its turn comes, and one more whenever it has filled
    them. So only growth can fail, and only running sequences are preempted: computed anew later, from what
    the prefix cache still has.
    """

    def __init__(self, *, blocks: Blocks, block_size: int, caching: bool, running: int, tokens: int) -> None:
        self.blocks = blocks
        self.waiting: deque[Record] = deque()
        self.ready: deque[Record] = deque()
        self.running: list[Record] = []
        self.preempted = 0
        self._block_size = block_size
        self._caching = caching
        self._places = running
        self._tokens = tokens

    def admit(self) -> Record | None:
        """The next waiting sequence, now with blocks and with what the prefix cache had; None: not yet."""
        if not self.waiting or len(self.running) >= self._places:
            return None
        record = self.waiting[0]
        sequence = record.sequence
        found = self.cached(record)
        fresh = self.needed(sequence.length) - len(found)
        # A block for each running sequence's growth is spared, lest the new one be preempted at once.
        blocks = self.blocks.allocate(found, fresh, spare=len(self.running))
        if blocks is None:
            return None
        self.waiting.popleft()
        sequence.blocks = blocks
        sequence.computed = len(found) * self._block_size
        record.entered = len(found)
        return record

    def cached(self, record: Record) -> list[int]:
        """Blocks of its prefix: never the whole of it, since the last token's logits are needed.

        None for a request with prompt_logprobs: it needs those of all its prompt (vLLM 0.32,
        skip_reading_prefix_cache).
        """
        if not self._caching or record.sequence.sampling.prompt_logprobs is not None:
            return []
        return self.blocks.match(record.hash_up_to(record.sequence.length - 1, self._block_size))

    def run(self, record: Record) -> None:
        """It may be computed from the next step on."""
        record.state = State.RUNNING
        self.running.append(record)

    def loaded(self, record: Record) -> None:
        """It has all KV that will come, and waits for a place among the running."""
        record.state = State.READY
        self.ready.append(record)

    def plan(self) -> list[Chunk]:
        """What to compute now: a token for each that decodes, then chunks of prompts while there is room."""
        while self.ready and len(self.running) < self._places:
            self.run(self.ready.popleft())
        chunks: list[Chunk] = []
        budget = self._tokens
        for record in tuple(self.running):
            if budget and record.state is State.RUNNING and record.remaining == 1 and self._grown(record):
                chunks.append(Chunk(record, 1))
                budget -= 1
        for record in self.running:
            if budget and record.remaining > 1:
                count = min(budget, record.remaining)
                chunks.append(Chunk(record, count))
                budget -= count
        return chunks

    def enter(self, record: Record) -> None:
        """Put its blocks that are full by now in the prefix cache."""
        sequence = record.sequence
        full = sequence.computed // self._block_size
        if not self._caching or full <= record.entered:
            return
        hashes = record.hash_up_to(full * self._block_size, self._block_size)
        for number in range(record.entered, full):
            self.blocks.enter(sequence.blocks[number], hashes[number])
        record.entered = full

    def remove(self, record: Record) -> None:
        """It is not to run any more. Its blocks stay with it."""
        if record.state is State.RUNNING:
            self.running.remove(record)
        elif record.state is State.READY:
            self.ready.remove(record)
        elif record.state is State.WAITING:
            self.waiting.remove(record)

    def needed(self, tokens: int) -> int:
        """Blocks for so many tokens."""
        return -(-tokens // self._block_size)

    def _grown(self, record: Record) -> bool:
        """Whether there is a block for its next token. May preempt those behind it, or itself."""
        sequence = record.sequence
        while len(sequence.blocks) < self.needed(sequence.length):
            more = self.blocks.allocate((), 1)
            if more is not None:
                sequence.blocks += more
                continue
            last = self.running[-1]
            self._preempt(last)
            if last is record:
                return False
        return True

    def _preempt(self, record: Record) -> None:
        self.running.remove(record)
        sequence = record.sequence
        self.blocks.release(sequence.blocks)
        sequence.blocks = []
        sequence.computed = 0
        record.state = State.WAITING
        self.preempted += 1
        self.waiting.appendleft(record)
