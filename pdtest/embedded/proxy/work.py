"""One leg of a request at one instance, from its beginning to its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum
from types import TracebackType
from typing import Self

from pdtest.embedded.proxy.instances import Instance


class Outcome(StrEnum):
    """How a leg ended. `ABORTED`: nobody wanted it any more."""

    DONE = "done"
    FAILED = "failed"
    ABORTED = "aborted"


class Work:
    """Keeps its instance's figures: requests and tokens in flight, outcomes, durations.

    As a context manager it ends with the block: done, aborted by a cancellation, failed by an exception.
    """

    def __init__(self, instance: Instance, prompt_tokens: int, on_end: Callable[[Work], None]) -> None:
        self.instance = instance
        self.length = prompt_tokens
        self.outcome: Outcome | None = None
        self.began_at = time.perf_counter()
        self._answered = False
        self._prompt_tokens = prompt_tokens
        self._on_end = on_end
        instance.in_flight += 1
        instance.occupancy.began()
        instance.kv_length += prompt_tokens

    @property
    def elapsed_s(self) -> float:
        """Since it began, seconds."""
        return time.perf_counter() - self.began_at

    def counted(self, prompt_tokens: int) -> None:
        """An engine said how long the prompt is."""
        self._grow(prompt_tokens - self._prompt_tokens)
        self._prompt_tokens = prompt_tokens

    def generated(self, tokens: int) -> None:
        """An answer, or more of one, came."""
        if not self._answered:
            self._answered = True
            self.instance.first_chunks.add(self.elapsed_s)
        self._grow(tokens)

    def end(self, outcome: Outcome) -> None:
        """It is over; said once more it changes nothing."""
        if self.outcome is not None:
            return
        self.outcome = outcome
        instance = self.instance
        instance.in_flight -= 1
        instance.occupancy.ended()
        instance.kv_length -= self.length
        match outcome:
            case Outcome.DONE:
                instance.done += 1
                instance.legs.add(self.elapsed_s)
            case Outcome.FAILED:
                instance.failed += 1
            case Outcome.ABORTED:
                instance.aborted += 1
        self._on_end(self)

    def _grow(self, tokens: int) -> None:
        if self.outcome is None:
            self.length += tokens
            self.instance.kv_length += tokens

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.end(Outcome.DONE)
        else:
            self.end(Outcome.FAILED if issubclass(kind, Exception) else Outcome.ABORTED)
