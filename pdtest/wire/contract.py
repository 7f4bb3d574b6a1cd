"""What a connector puts on the wire, and what must come of it.

One file per contract implements `Contract` with the same method names. A contract knows three
messages of a handoff (request to prefill, prefill's answer, request to decode), what they must
contain, which counters prove that KV moved, and how much must have moved for a prompt of n
tokens. Suites ask the contract, never the environment's name.

To add a connector: a file in this room, a line in `registry.py` (or a `pdtest.contracts` entry
point), an environment file and a test file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

Params = Mapping[str, Any]


class Leg(StrEnum):
    """The messages of a handoff that carry kv_transfer_params."""

    TO_PREFILL = "request to prefill"
    FROM_PREFILL = "answer of prefill"
    TO_DECODE = "request to decode"


@dataclass(frozen=True, kw_only=True)
class Breach:
    """One way in which a message breaks the contract."""

    leg: Leg
    field: str
    expected: str
    seen: str

    def __str__(self) -> str:
        return f"{self.leg}: {self.field}: expected {self.expected}, seen {self.seen}"


@dataclass(frozen=True, kw_only=True)
class Review:
    """A message held against its contract. ``extra`` fields are tolerated and recorded."""

    breaches: tuple[Breach, ...] = ()
    extra: tuple[str, ...] = ()
    #: Optional fields that show which generation of the connector is speaking.
    drift: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What one handoff must move. Tokens, as decode's counters see them; blocks of KV.

    ``transferred`` from outside, ``cached`` from decode's own prefix cache, ``computed`` anew.
    """

    transferred: int
    cached: int
    computed: int
    blocks: int

    def __add__(self, other: Demand) -> Demand:
        return Demand(
            transferred=self.transferred + other.transferred,
            cached=self.cached + other.cached,
            computed=self.computed + other.computed,
            blocks=self.blocks + other.blocks,
        )


@dataclass(frozen=True, kw_only=True)
class Tamper:
    """A way of falsifying the parameters between the legs, and what it imitates."""

    name: str
    imitates: str


class Contract(Protocol):
    """One connector's wire contract. Stateless."""

    name: str
    #: False where the messages carry no kv_transfer_params (shared storage, content hash).
    carries_params: bool
    #: Counter families on decode that rise when KV arrives: metric name -> what it counts.
    evidence: Mapping[str, str]
    #: Counter families that rise when a transfer fails, on either side.
    failures: Mapping[str, str]
    tampers: tuple[Tamper, ...]

    def params_for_prefill(self) -> dict[str, Any] | None:
        """kv_transfer_params of the request to prefill, or None."""
        ...

    def params_for_decode(self, answered: Params | None) -> dict[str, Any] | None:
        """kv_transfer_params of the request to decode, from what prefill answered."""
        ...

    def review(self, leg: Leg, params: Params | None) -> Review:
        """Hold one message against the contract, field by field."""
        ...

    def demand(self, prompt_tokens: int, *, cached_tokens: int, block_size: int) -> Demand:
        """What must move for a prompt, when decode's prefix cache already covers some of it."""
        ...

    def tampered(self, name: str, params: Params, other: Params) -> dict[str, Any] | None:
        """``params`` falsified in the way ``name``; ``other`` are another request's parameters."""
        ...
