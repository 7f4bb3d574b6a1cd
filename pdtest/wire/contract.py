"""What a connector puts on the wire, and what must come of it.

One file per contract implements `Contract` with the same method names. A contract knows three
messages of a handoff (request to prefill, prefill's answer, request to decode), what they must
contain, which counters prove that KV moved, and how much must have moved for a prompt of n
tokens. Suites ask the contract, never the environment's name.

To add a connector: a file in this room, a line in `registry.py` (or a `pdtest.contracts` entry
point), an environment file and a test file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from pdtest.wire.tamper import Params, Tamper

if TYPE_CHECKING:
    from pdtest.wire.evidence import Evidence
    from pdtest.wire.fields import Field

__all__ = [
    "Breach",
    "Contract",
    "Demand",
    "Introduction",
    "Leg",
    "Order",
    "Params",
    "Review",
    "Station",
    "Tamper",
]


class Leg(StrEnum):
    """The messages of a handoff that carry kv_transfer_params."""

    TO_PREFILL = "request to prefill"
    FROM_PREFILL = "answer of prefill"
    TO_DECODE = "request to decode"


class Order(StrEnum):
    """In which order the two requests of a handoff are sent, and so where decode's parameters come from."""

    #: Prefill answers, and decode gets what it answered.
    PREFILL_FIRST = "prefill first"
    #: Both at once, joined by an id that both are given; decode looks for prefill, and waits.
    TOGETHER = "together"
    #: Decode asks for its KV once it has room for it, and only then prefill gets its request.
    DECODE_FIRST = "decode first"


@dataclass(frozen=True, kw_only=True)
class Station:
    """Where an engine can be reached: its address and its ports, by the names that its service gives them."""

    address: str
    ports: Mapping[str, int]

    def url(self, port: str) -> str:
        """Of the port with that name. Raises KeyError where there is none."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"http://{host}:{self.ports[port]}"


@dataclass(frozen=True, kw_only=True)
class Introduction:
    """What must be asked of a prefill instance before a decode instance can be sent to it.

    GET ``path`` on its port called ``port``; ``read`` makes parameters of the URL up to there and of the
    JSON that came, and raises ValueError where that is not what it should be.
    """

    port: str
    path: str
    read: Callable[[str, Any], Params]


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
    def order(self) -> Order:
        """Which leg goes first."""
        ...

    @property
    def obstacle(self) -> str | None:
        """Why a client cannot lead both legs of a handoff itself, only a proxy; None where it can."""
        ...

    @property
    def introduction(self) -> Introduction | None:
        """What to ask prefill for before legs that go together; None where nothing."""
        ...

    @property
    def prefill_min_tokens(self) -> int:
        """``min_tokens`` of the request to prefill.

        1 where prefill gives up the blocks of a prompt whose first token ends the answer: then none does.
        """
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

    def request_id(self, own: str, prefill: Station, decode: Station) -> str:
        """The X-Request-Id of both legs, made of ``own``, which no other handoff has."""
        ...

    def params_for_prefill(self) -> dict[str, Any] | None:
        """kv_transfer_params of the request to prefill, or None. An id in them is new each time."""
        ...

    def params_for_decode(self, known: Params | None) -> dict[str, Any] | None:
        """kv_transfer_params of the request to decode.

        ``known`` is what prefill answered. Of legs that go together: what prefill is sent, and what its
        introduction says.
        """
        ...

    def block_ids(self, params: Params) -> Sequence[Sequence[int]] | None:
        """The blocks that ``params`` name, per KV group; None where such parameters name none."""
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
