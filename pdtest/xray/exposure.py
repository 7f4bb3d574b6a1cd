"""All ranks' records of one prompt on one side, as if there were one rank."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from pdtest.xray.plate import Half, Plate, Side

__all__ = ["Exposure", "Half", "Place", "Row", "Side"]


class Place(NamedTuple):
    """Where a row of KV belongs. Layers and heads count over the whole model, tokens over the prompt."""

    layer: int
    half: Half
    token: int
    head: int


class Row(NamedTuple):
    """What a row's digests are."""

    exact: int
    projection: float
    peak: float


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """One prompt on one engine; a prompt that is exposed again (a preempted one) counts as last seen."""

    plates: Sequence[Plate] = field(repr=False)

    @property
    def one(self) -> Plate:
        """Any of the records, for what all of them say."""
        return self.plates[0]

    @cached_property
    def _by_place(self) -> dict[tuple[int, int], Plate]:
        return {
            (layer, head): plate
            for plate in self.plates
            for layer in range(plate.first_layer, plate.first_layer + plate.layers)
            for head in range(plate.first_head, plate.first_head + plate.heads)
        }

    @property
    def layers(self) -> Sequence[int]:
        """Layers with records."""
        return sorted({layer for layer, _ in self._by_place})

    @property
    def heads(self) -> Sequence[int]:
        """KV heads with records."""
        return sorted({head for _, head in self._by_place})

    @property
    def tokens(self) -> int:
        """How many tokens it covers."""
        return self.one.tokens

    @property
    def block_size(self) -> int:
        """The engine's."""
        return self.one.block_size

    def has(self, layer: int, head: int) -> bool:
        """Whether a rank recorded that head of that layer."""
        return (layer, head) in self._by_place

    def row(self, place: Place) -> Row:
        """The digests of one row. Raises KeyError where nothing was recorded."""
        plate = self._by_place[place.layer, place.head]
        index = plate.index(*place)
        return Row(plate.exact[index], plate.projection[index], plate.peak[index])

    def column(self, layer: int, half: Half, head: int) -> Sequence[int]:
        """The exact digests of all tokens of one head of one layer."""
        plate = self._by_place[layer, head]
        start = plate.index(layer, half, 0, head)
        return plate.exact[start : start + plate.tokens * plate.heads : plate.heads]

    def holds(self, wanted: frozenset[int]) -> Iterable[tuple[int, Place]]:
        """Each row whose exact digest is among ``wanted``."""
        for plate in self.plates:
            if wanted.isdisjoint(plate.exact):
                continue
            for index, exact in enumerate(plate.exact):
                if exact in wanted:
                    yield exact, _place(plate, index)


def _place(plate: Plate, index: int) -> Place:
    row, head = divmod(index, plate.heads)
    row, token = divmod(row, plate.tokens)
    layer, half = divmod(row, len(Half))
    return Place(layer + plate.first_layer, list(Half)[half], token, head + plate.first_head)
