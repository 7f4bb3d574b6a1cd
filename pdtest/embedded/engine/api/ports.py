"""What the API asks of the engine behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from pdtest.embedded.engine.sequence import Finish

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from pdtest.embedded.engine.sequence import Sequence as EngineSequence
    from pdtest.embedded.model.config import ModelConfig


class Core(Protocol):
    """One data-parallel rank."""

    def submit(self, sequence: EngineSequence) -> None:
        """Let it wait for its turn."""
        ...

    def abort(self, sequence: EngineSequence, finish: Finish = Finish.ABORT) -> None:
        """Give it up, wherever it is. Nothing happens when it has ended. ``finish``: how it counts."""
        ...

    def reset_prefix_cache(self) -> bool:
        """Forget cached prefixes. False while blocks are in use."""
        ...


class Cores(Protocol):
    """All data-parallel ranks of the process."""

    @property
    def config(self) -> ModelConfig:
        """The model's numbers."""
        ...

    @property
    def registry(self) -> CollectorRegistry:
        """Where the metrics of all ranks are."""
        ...

    def choose(self, data_rank: int | None) -> Core:
        """The rank that is asked for, else the one whose turn it is by the engine's policy."""
        ...

    def __iter__(self) -> Iterator[Core]: ...
