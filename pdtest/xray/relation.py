"""How a row that was received wrongly came to be: what it is of what was published."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from pdtest.xray.comparison import Comparison, Difference
from pdtest.xray.exposure import Exposure, Half, Place

#: Rows of one factor agree on it that far; a round trip through fewer bits moves rows apart by more.
_SAME_FACTOR = 1e-4
#: The coarsest format that is taken for rounding has 3 bits after the point: half of 2**-3.
_ROUNDED = 0.0625


@dataclass(frozen=True, kw_only=True, order=True)
class Relation:
    """``kind``: zeros, nan, scaled, rounded, moved (a row that belongs elsewhere), unknown.

    For `moved`: ``request`` whose it is, empty for the same one, and how much further on it belongs in
    layers, tokens and heads (modulo their number), and whether K is V (``halves``).
    """

    kind: str
    factor: float = 1.0
    request: str = ""
    layers: int = 0
    tokens: int = 0
    heads: int = 0
    halves: bool = False

    @property
    def simplicity(self) -> tuple[bool, int]:
        """The larger, the more readily it is believed: the same request, and little that is off."""
        off = sum(map(bool, (self.layers, self.tokens, self.heads, self.halves)))
        return not self.request, -off


def relations(comparison: Comparison, others: Sequence[Exposure]) -> dict[Place, Relation]:
    """One for each row that differs. ``others`` are exposures of further requests, the latest first."""
    found: dict[Place, Relation] = {}
    left = list(comparison.differences)
    for explain in (_zeros, _scaled, _elsewhere(comparison, others), _rounded):
        explained = explain(left)
        found |= explained
        left = [difference for difference in left if difference.place not in explained]
    return found | {difference.place: Relation(kind="unknown") for difference in left}


def _zeros(left: Iterable[Difference]) -> dict[Place, Relation]:
    found = {}
    for difference in left:
        if difference.received.peak == 0:
            found[difference.place] = Relation(kind="zeros")
        elif not math.isfinite(difference.received.peak) and math.isfinite(difference.published.peak):
            found[difference.place] = Relation(kind="nan")
    return found


class _elsewhere:  # noqa: N801 - called like its neighbours
    """Looks the rows up in everything that was seen in the run."""

    def __init__(self, comparison: Comparison, others: Sequence[Exposure]) -> None:
        self._own = comparison.published
        self._others = others
        self._heads = max(comparison.published.heads, default=0) + 1
        self._block_size = comparison.received.block_size

    def __call__(self, left: Sequence[Difference]) -> dict[Place, Relation]:
        wanted = frozenset(difference.received.exact for difference in left)
        if not wanted:
            return {}
        places: defaultdict[int, list[tuple[str, Place]]] = defaultdict(list)
        for exact, place in self._own.holds(wanted):
            places[exact].append(("", place))
        for other in self._others:
            for exact, place in other.holds(wanted):
                places[exact].append((other.one.request or other.one.sequence, place))
        possible = {
            difference.place: {
                self._relation(difference.place, *source) for source in places[difference.received.exact]
            }
            for difference in left
            if difference.received.exact in places
        }
        return _by_block(possible, self._block_size)

    def _relation(self, place: Place, request: str, source: Place) -> Relation:
        return Relation(
            kind="moved",
            request=request,
            layers=source.layer - place.layer,
            tokens=source.token - place.token,
            heads=(source.head - place.head) % self._heads,
            halves=source.half is not place.half,
        )


def _by_block(possible: Mapping[Place, set[Relation]], size: int) -> dict[Place, Relation]:
    """What happened to a block happened to all of it, more likely than to others as well."""
    blocks: defaultdict[int, dict[Place, set[Relation]]] = defaultdict(dict)
    for place, choices in possible.items():
        blocks[place.token // size][place] = choices
    return {place: one for block in blocks.values() for place, one in _fewest(block).items()}


def _fewest(possible: Mapping[Place, set[Relation]]) -> dict[Place, Relation]:
    """One of its relations for each: those that explain most. Equal tokens may well have equal rows."""
    found: dict[Place, Relation] = {}
    left = dict(possible)
    while left:
        counts = Counter(relation for choices in left.values() for relation in choices)
        best = max(counts, key=lambda relation: (counts[relation], relation.simplicity, relation))
        chosen = [place for place, choices in left.items() if best in choices]
        found |= dict.fromkeys(chosen, best)
        for place in chosen:
            del left[place]
    return found


def _scaled(left: Sequence[Difference]) -> dict[Place, Relation]:
    factors = {difference.place: factor for difference in left if (factor := _factor(difference)) is not None}
    if not factors:
        return {}
    middle = median(factors.values())
    agreeing = {
        place for place, factor in factors.items() if abs(factor - middle) <= _SAME_FACTOR * abs(middle)
    }
    if 2 * len(agreeing) < len(left) or abs(middle - 1) <= _SAME_FACTOR:
        return {}
    return dict.fromkeys(agreeing, Relation(kind="scaled", factor=float(f"{middle:.4g}")))


def _factor(difference: Difference) -> float | None:
    """By which both rough digests have changed; None where they do not agree on one."""
    ours, theirs = difference.received, difference.published
    if not theirs.peak or not math.isfinite(ours.peak):
        return None
    size = ours.peak / theirs.peak
    factor = math.copysign(size, ours.projection * theirs.projection)
    off = abs(ours.projection - factor * theirs.projection)
    return factor if off <= _SAME_FACTOR * ours.peak else None


def _rounded(left: Sequence[Difference]) -> dict[Place, Relation]:
    close = [
        difference.place
        for difference in left
        if abs(difference.received.peak - difference.published.peak) <= _ROUNDED * difference.published.peak
        and abs(difference.received.projection - difference.published.projection)
        <= 4 * _ROUNDED * difference.published.peak
    ]
    # Of rows that have nothing to do with each other some are close as well.
    return dict.fromkeys(close, Relation(kind="rounded")) if 2 * len(close) >= len(left) else {}


def exchanged(half: Half) -> Half:
    """The other one."""
    return Half.V if half is Half.K else Half.K
