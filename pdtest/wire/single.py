"""What contracts of a single connector have in common: each says only what is its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from pdtest.wire.contract import Introduction, Leg, Order, Params, Review, Station
from pdtest.wire.fields import Field, review
from pdtest.wire.tamper import Tamper, pick


class SingleContract:
    """A contract whose messages are lists of fields, prefill first, decode told what prefill answered.

    ``to_prefill``, ``from_prefill`` and ``to_decode`` are the fields of the legs that carry parameters.
    """

    #: Whose messages these are, and since which version; for docs/contracts.md.
    speaks: str = ""
    order: Order = Order.PREFILL_FIRST
    obstacle: str | None = None
    introduction: Introduction | None = None
    prefill_min_tokens: int = 0
    tampers: tuple[Tamper, ...] = ()
    to_prefill: tuple[Field, ...] = ()
    from_prefill: tuple[Field, ...] = ()
    to_decode: tuple[Field, ...] = ()

    @property
    def carries_params(self) -> bool:
        """True when any message has fields."""
        return any(map(self.fields, Leg))

    def fields(self, leg: Leg) -> tuple[Field, ...]:
        """What kv_transfer_params of one message consist of."""
        if leg is Leg.TO_DECODE:
            return self.to_decode
        return self.to_prefill if leg is Leg.TO_PREFILL else self.from_prefill

    def request_id(self, own: str, prefill: Station, decode: Station) -> str:  # noqa: ARG002
        """``own`` as it is."""
        return own

    def params_for_prefill(self) -> dict[str, Any] | None:
        """None."""
        return None

    def params_for_decode(self, known: Params | None) -> dict[str, Any] | None:
        """Prefill's answer, verbatim: also the fields that this version of pdtest does not know."""
        return None if known is None or not self.carries_params else dict(known)

    def block_ids(self, params: Params) -> Sequence[Sequence[int]] | None:
        """``remote_block_ids``; a flat list, as older versions send it, is one group."""
        ids = params.get("remote_block_ids")
        if not isinstance(ids, list):
            return None
        return ids if ids and isinstance(ids[0], list) else [ids]

    def review(self, leg: Leg, params: Params | None) -> Review:
        """Hold one message against the contract, field by field."""
        return review(leg, params, self.fields(leg))

    def carrier(self, prompt_tokens: int, *, cached_tokens: int = 0, block_size: int) -> Self:  # noqa: ARG002
        """Itself."""
        return self

    def tampered(self, name: str, params: Params, other: Params) -> dict[str, Any] | None:
        """``params`` falsified in the way ``name``. Raises UnknownTamper, TamperImpossible."""
        return pick(self.tampers, name).apply(params, other)
