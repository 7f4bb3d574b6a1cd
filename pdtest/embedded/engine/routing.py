"""Which data-parallel rank takes a request that asks for none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

#: What can be asked for with --data-parallel-policy.
POLICIES: Final = ("kv_length", "count", "round_robin")


class Loaded(Protocol):
    """A rank, as far as routing looks at it."""

    @property
    def expected_kv_tokens(self) -> int:
        """Tokens of KV when all that is here has been computed."""
        ...

    @property
    def sequences(self) -> int:
        """Requests that run or wait."""
        ...


@dataclass
class Router:
    """Chooses by one of `POLICIES`; of equals, the one whose turn it is.

    ``kv_length`` looks at what requests weigh. ``count`` is, in short, what vLLM does (0.32,
    v1/engine/core_client.py, DPLBAsyncMPClient): it looks at how many there are, as ``round_robin`` does at
    how many there were, so a rank may get all the long ones.
    """

    policy: str
    _turn: int = field(default=0, repr=False)

    def choose(self, ranks: Sequence[Loaded]) -> int:
        """The number of the rank that takes the next request. Not called for a rank that is asked for."""
        key = _KEYS[self.policy]
        order = [(self._turn + step) % len(ranks) for step in range(len(ranks))]
        chosen = min(order, key=lambda rank: key(ranks[rank]))
        if self.policy != "kv_length":
            self._turn = chosen + 1
        return chosen


_KEYS: Final[dict[str, Callable[[Loaded], int]]] = {
    "kv_length": lambda rank: rank.expected_kv_tokens,
    "count": lambda rank: rank.sequences,
    "round_robin": lambda _: 0,
}
