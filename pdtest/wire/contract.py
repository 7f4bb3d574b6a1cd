"""What a connector puts on the wire, and what must come of it.

One file per contract implements `Contract` with the same method names. A contract knows three
messages of a handoff (request to prefill, prefill's answer, request to decode), what they must
contain, which counters prove that KV moved, and how much must have moved for a prompt of n
tokens. Suites ask the contract, never the environment's name.

To add a connector: a file in this room, a line in `registry.py` (or a `pdtest.contracts` entry
point), an environment file and a test file.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from pdtest.wire.tamper import Params, Tamper

if TYPE_CHECKING:
    from pdtest.wire.evidence import Evidence
    from pdtest.wire.fields import Field

__all__ = ["Breach", "Contract", "Demand", "Leg", "Params", "Review", "Tamper"]


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
    """A message held against its contract.

    ``extra``: fields the contract does not know; tolerated and recorded. ``drift``: known fields
    or forms that show which generation of the connector is speaking; no breach either.
    """

    leg: Leg
    breaches: tuple[Breach, ...] = ()
    extra: tuple[str, ...] = ()
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


class Contract(Protocol):
    """One connector's wire contract. Stateless."""

    @property
    def name(self) -> str:
        """What environment files call it."""
        ...

    @property
    def carries_params(self) -> bool:
        """False where the messages carry no kv_transfer_params (shared storage, content hash)."""
        ...

    @property
    def evidence(self) -> Evidence:
        """Which counters tell that KV arrived, that a transfer failed, that a lease ran out."""
        ...

    @property
    def tampers(self) -> tuple[Tamper, ...]:
        """The ways in which its parameters can be falsified."""
        ...

    def fields(self, leg: Leg) -> tuple[Field, ...]:
        """What kv_transfer_params of one message consist of; empty where there are none."""
        ...

    def params_for_prefill(self) -> dict[str, Any] | None:
        """kv_transfer_params of the request to prefill, or None."""
        ...

    def params_for_decode(self, answered: Params | None) -> dict[str, Any] | None:
        """kv_transfer_params of the request to decode, from what prefill answered."""
        ...

    def review(self, leg: Leg, params: Params | None) -> Review:
        """Hold one message against the contract, field by field."""
        ...

    def demand(self, prompt_tokens: int, *, cached_tokens: int = 0, block_size: int) -> Demand:
        """What must move for a prompt, when decode's prefix cache already covers some of it."""
        ...

    def carrier(self, prompt_tokens: int, *, cached_tokens: int = 0, block_size: int) -> Contract:
        """The contract whose connector moves this prompt, and whose evidence must therefore show.

        Itself, except for compositions.
        """
        ...

    def tampered(self, name: str, params: Params, other: Params) -> dict[str, Any] | None:
        """``params`` falsified in the way ``name``; ``other`` are another request's parameters.

        None: no parameters are sent. Raises UnknownTamper, and TamperImpossible where the way
        does not apply to these parameters. Neither argument is changed.
        """
        ...
