"""What was received, row by row against what was published."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from pdtest.xray.exposure import Exposure, Half, Place, Row

#: How far, relative to a row's largest number, two computations of the same row may be apart.
_COMPUTED_ANEW = 0.005


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A row (one token of K or V of one head in one layer) that is not what was published."""

    place: Place
    published: Row
    received: Row


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Both sides of one request. ``tokens`` and ``rows`` are how much could be compared.

    ``gaps`` says in words what of the published KV no receiving rank recorded.
    """

    published: Exposure = field(repr=False)
    received: Exposure = field(repr=False)
    tokens: int
    rows: int
    differences: tuple[Difference, ...] = field(repr=False)
    gaps: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        """Nothing differs, and something was compared."""
        return not self.differences and bool(self.rows)

    @cached_property
    def wrong(self) -> dict[tuple[int, Half, int], set[int]]:
        """Heads that differ, by layer, K or V, and the receiver's block."""
        found: dict[tuple[int, Half, int], set[int]] = {}
        for difference in self.differences:
            layer, half, token, head = difference.place
            found.setdefault((layer, half, token // self.received.block_size), set()).add(head)
        return found


def compare(published: Exposure, received: Exposure) -> Comparison:
    """Hold ``received`` against ``published``; ranks, block sizes and layouts need not be the same."""
    tokens = min(published.tokens, received.tokens)
    shared = [
        (layer, head)
        for layer in published.layers
        for head in published.heads
        if published.has(layer, head) and received.has(layer, head)
    ]
    differences = [
        difference
        for layer, head in shared
        for half in Half
        for difference in _column(published, received, layer, half, head, tokens)
    ]
    return Comparison(
        published=published,
        received=received,
        tokens=tokens,
        rows=len(shared) * len(Half) * tokens,
        differences=tuple(sorted(differences, key=lambda difference: difference.place)),
        gaps=tuple(_gaps(published, received)),
    )


def _column(  # noqa: PLR0913, PLR0917 - a place and its two sides
    published: Exposure, received: Exposure, layer: int, half: Half, head: int, tokens: int
) -> Iterator[Difference]:
    ours, theirs = received.column(layer, half, head), published.column(layer, half, head)
    if ours[:tokens] == theirs[:tokens]:
        return
    for token in range(tokens):
        if ours[token] == theirs[token]:
            continue
        place = Place(layer, half, token, head)
        difference = Difference(place=place, published=published.row(place), received=received.row(place))
        # What the receiver had already it may have computed itself, in another order of additions.
        if token >= received.one.cached or not _nearly(difference):
            yield difference


def _nearly(difference: Difference) -> bool:
    ours, theirs = difference.received, difference.published
    off = max(abs(ours.peak - theirs.peak), abs(ours.projection - theirs.projection) / 4)
    return off <= _COMPUTED_ANEW * theirs.peak


def _gaps(published: Exposure, received: Exposure) -> Iterator[str]:
    for what, ours, theirs in (
        ("layers", received.layers, published.layers),
        ("heads", received.heads, published.heads),
    ):
        missing = sorted(set(theirs) - set(ours))
        if missing:
            yield f"no record of {what} {', '.join(map(str, missing))} on {received.one.member}"
