"""Several connectors at once, as MultiConnector has them: the first leads, the messages are united."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pdtest.embedded.proxy.contracts.contract import Contract, Opening, Order, Params
from pdtest.embedded.proxy.instances import Instance


@dataclass(frozen=True, kw_only=True)
class MultiContract:
    """A composition of ``children``. Where two put something under one key, the first one's stays."""

    children: tuple[Contract, ...]

    @property
    def name(self) -> str:
        """The children's, as on the command line."""
        return ",".join(child.name for child in self.children)

    @property
    def order(self) -> Order:
        """That of the first."""
        return self.children[0].order

    @property
    def pairs(self) -> bool:
        """True when any child's request id does."""
        return any(child.pairs for child in self.children)

    @property
    def expects_params(self) -> bool:
        """That of the first."""
        return self.children[0].expects_params

    @property
    def prefill_min_tokens(self) -> int:
        """The most that a child wants."""
        return max(child.prefill_min_tokens for child in self.children)

    def request_id(self, own: str, prefill: Instance, decode: Instance) -> str:
        """That of the child that pairs, else the client's."""
        pairing = next((child for child in self.children if child.pairs), self.children[0])
        return pairing.request_id(own, prefill, decode)

    async def open(self, prefill: Instance | None) -> Opening:
        """The union of the children's."""
        openings = [await child.open(prefill) for child in self.children]
        return Opening(
            to_prefill=_union(opening.to_prefill for opening in openings),
            to_decode=_union(opening.to_decode for opening in openings),
            headers=_union(opening.headers for opening in openings) or {},
        )

    def params_for_decode(self, opening: Opening, answered: Params | None) -> Params | None:
        """The union of what the children make of it."""
        return _union(child.params_for_decode(opening, answered) for child in self.children)

    def doubt(self, prefill: Instance) -> None:
        """All of them."""
        for child in self.children:
            child.doubt(prefill)


def _union(every: Iterable[Params | None]) -> dict[str, Any] | None:
    some = [params for params in every if params is not None]
    united: dict[str, Any] = {}
    for params in reversed(some):
        united |= params
    return united if some else None
