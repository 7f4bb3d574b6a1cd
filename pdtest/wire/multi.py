"""MultiConnector: several connectors at once; each prompt is loaded by the first that has tokens.

Facts from vLLM 0.32, kv_connector/v1/multi_connector.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pdtest.errors import PdtestError
from pdtest.wire.contract import Contract, Demand, Introduction, Leg, Order, Params, Review, Station
from pdtest.wire.evidence import Evidence
from pdtest.wire.fields import Field, review
from pdtest.wire.tamper import Tamper, UnknownTamper


class ParamsClash(PdtestError):
    """Two children of a composition put different things under one key."""

    title = "connectors clash"

    def __init__(self, keys: Iterable[str], children: Iterable[str]) -> None:
        self.keys = tuple(sorted(keys))
        super().__init__(
            f"the connectors {', '.join(children)} share keys of kv_transfer_params: {', '.join(self.keys)}",
            expected="each key answered by one connector (MultiConnector raises 'Key clash' otherwise)",
            next_step="name connectors that do not overlap under 'connector: contract:'",
        )


@dataclass(frozen=True, kw_only=True)
class MultiContract:
    """A MultiConnector over ``children``, in first-hit order.

    Raises ParamsClash when two children answer with the same key: the engine would raise on every
    request.
    """

    children: tuple[Contract, ...]

    def __post_init__(self) -> None:
        answered = [{field.name for field in child.fields(Leg.FROM_PREFILL)} for child in self.children]
        seen: set[str] = set()
        for keys in answered:
            if clash := seen & keys:
                raise ParamsClash(clash, [child.name for child in self.children])
            seen |= keys

    @property
    def name(self) -> str:
        """The children's names, as in 'nixl+example'."""
        return "+".join(child.name for child in self.children)

    @property
    def carries_params(self) -> bool:
        """True when any child carries some."""
        return any(child.carries_params for child in self.children)

    @property
    def leader(self) -> Contract:
        """The child that decides how requests travel: the first that carries parameters, else the first."""
        return leading(next((child for child in self.children if child.carries_params), self.children[0]))

    @property
    def order(self) -> Order:
        """The leader's."""
        return self.leader.order

    @property
    def obstacle(self) -> str | None:
        """The first that a child has."""
        return next((child.obstacle for child in self.children if child.obstacle), None)

    @property
    def introduction(self) -> Introduction | None:
        """The leader's."""
        return self.leader.introduction

    @property
    def prefill_min_tokens(self) -> int:
        """The most that a child wants."""
        return max(child.prefill_min_tokens for child in self.children)

    @property
    def evidence(self) -> Evidence:
        """What holds whichever child loads. For bytes and transfers, ask the carrier's evidence."""
        every = [child.evidence for child in self.children]
        return Evidence(
            tokens=every[0].tokens,
            promised=every[0].promised,
            failures=tuple(failure for one in every for failure in one.failures),
            expired=next((one.expired for one in every if one.expired), None),
        )

    @property
    def tampers(self) -> tuple[Tamper, ...]:
        """Those of all children."""
        return tuple(tamper for child in self.children for tamper in child.tampers)

    def fields(self, leg: Leg) -> tuple[Field, ...]:
        """The union of the children's."""
        by_name = {field.name: field for child in self.children for field in child.fields(leg)}
        return tuple(by_name.values())

    def request_id(self, own: str, prefill: Station, decode: Station) -> str:
        """The leader's."""
        return self.leader.request_id(own, prefill, decode)

    def params_for_prefill(self) -> dict[str, Any] | None:
        """The union of the children's. Raises ParamsClash when two differ about a key."""
        return self._union(child.params_for_prefill() for child in self.children)

    def params_for_decode(self, known: Params | None) -> dict[str, Any] | None:
        """The union of what the children make of the merged answer."""
        return self._union(child.params_for_decode(known) for child in self.children)

    def block_ids(self, params: Params) -> Sequence[Sequence[int]] | None:
        """What the leader reads."""
        return self.leader.block_ids(params)

    def review(self, leg: Leg, params: Params | None) -> Review:
        """Hold one message against the fields of all children."""
        return review(leg, params, self.fields(leg))

    def demand(self, prompt_tokens: int, *, cached_tokens: int = 0, block_size: int) -> Demand:
        """That of the first child that has tokens; the others load nothing."""
        chosen = self.carrier(prompt_tokens, cached_tokens=cached_tokens, block_size=block_size)
        return chosen.demand(prompt_tokens, cached_tokens=cached_tokens, block_size=block_size)

    def carrier(self, prompt_tokens: int, *, cached_tokens: int = 0, block_size: int) -> Contract:
        """The first child that has tokens for this prompt; the first child when none has."""
        for child in self.children:
            demand = child.demand(prompt_tokens, cached_tokens=cached_tokens, block_size=block_size)
            # Blocks without tokens: NIXL fetches the block of a one-token prompt, and counts it as computed.
            if demand.transferred or demand.blocks:
                return child.carrier(prompt_tokens, cached_tokens=cached_tokens, block_size=block_size)
        return self.children[0]

    def tampered(self, name: str, params: Params, other: Params) -> dict[str, Any] | None:
        """``params`` falsified by the child that knows ``name``. Raises UnknownTamper, TamperImpossible."""
        for child in self.children:
            if any(tamper.name == name for tamper in child.tampers):
                return child.tampered(name, params, other)
        raise UnknownTamper(name, [tamper.name for tamper in self.tampers])

    def _union(self, parts: Iterable[Params | None]) -> dict[str, Any] | None:
        merged: dict[str, Any] | None = None
        for part in parts:
            if part is None:
                continue
            merged = {} if merged is None else merged
            if clash := {key for key in part if key in merged and merged[key] != part[key]}:
                raise ParamsClash(clash, [child.name for child in self.children])
            merged.update(part)
        return merged


def connectors(contract: Contract) -> tuple[Contract, ...]:
    """The single connectors that a contract consists of: itself, or the children of a composition."""
    if not isinstance(contract, MultiContract):
        return (contract,)
    return tuple(single for child in contract.children for single in connectors(child))


def leading(contract: Contract) -> Contract:
    """The single connector that decides how requests travel: itself, or the leader of a composition."""
    return contract.leader if isinstance(contract, MultiContract) else contract
