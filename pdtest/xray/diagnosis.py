"""A comparison in words: which layer, block, head and tokens, K or V, and what is there instead."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pdtest.xray.archive import Archive
from pdtest.xray.comparison import Comparison, compare
from pdtest.xray.exposure import Half, Place, Side
from pdtest.xray.relation import Relation, exchanged, relations
from pdtest.xray.words import Part, listed, places_of

#: Lines of a diagnosis; what is cut off is in the heat map.
_LINES = 12


@dataclass(frozen=True, kw_only=True, order=True)
class Mismatch:
    """One block of one head of one layer, K or V, that is wrong in one way. ``tokens`` are the prompt's."""

    layer: int
    block: int
    head: int
    half: Half
    tokens: tuple[int, ...]
    relation: Relation


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What the X-ray of one transfer shows."""

    request: str
    comparison: Comparison = field(repr=False)
    mismatches: tuple[Mismatch, ...]
    lines: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """What was received is what was published."""
        return self.comparison.equal

    def __str__(self) -> str:
        return "\n".join(self.lines)


def diagnose(archive: Archive, request_id: str) -> list[Diagnosis]:
    """One for each time the request's KV was received: for each choice, and each retry."""
    return [
        _diagnosis(archive, request_id, compare(published, received))
        for published, received in archive.pairs(request_id)
    ]


def _diagnosis(archive: Archive, request_id: str, comparison: Comparison) -> Diagnosis:
    own = comparison.published.one.sequence
    at = comparison.received.one.at
    others = [
        one
        for one in reversed(archive.exposures if comparison.differences else ())
        # Not what others received: that may be just as wrong, and explains nothing.
        if one.one.side is Side.PUBLISHED and one.one.sequence != own and one.one.at <= at
    ]
    found = relations(comparison, others)
    size = comparison.received.block_size
    cells: defaultdict[tuple[int, int, int, Half, Relation], list[int]] = defaultdict(list)
    for (layer, half, token, head), relation in found.items():
        cells[layer, token // size, head, half, relation].append(token)
    mismatches = [
        Mismatch(
            layer=layer, block=block, head=head, half=half, tokens=tuple(sorted(tokens)), relation=relation
        )
        for (layer, block, head, half, relation), tokens in cells.items()
    ]
    return Diagnosis(
        request=request_id,
        comparison=comparison,
        mismatches=tuple(sorted(mismatches)),
        lines=tuple(_lines(comparison, found)),
    )


def _lines(comparison: Comparison, found: dict[Place, Relation]) -> Iterator[str]:
    by_relation: defaultdict[Relation, list[Place]] = defaultdict(list)
    for place, relation in found.items():
        by_relation[relation].append(place)
    said = [
        (part, relation)
        for relation, places in by_relation.items()
        for part in places_of({*places, *_as_well(places, relation, comparison)}, comparison.received)
    ]
    said = list(_without_swaps(said))
    said.sort(key=lambda one: (one[0].layers, one[0].tokens))
    for part, relation in said[:_LINES]:
        yield f"{part}: {_came(part, relation, comparison)}"
    if len(said) > _LINES:
        yield f"... and {len(said) - _LINES} more"
    yield from comparison.gaps


def _as_well(places: Sequence[Place], relation: Relation, comparison: Comparison) -> Iterator[Place]:
    """Rows in the same blocks that nobody can tell: what came instead is, by chance, just the same."""
    if relation != Relation(kind="moved", tokens=relation.tokens):
        return
    size, published = comparison.received.block_size, comparison.published
    for layer, half, block, head in {(one.layer, one.half, one.token // size, one.head) for one in places}:
        column = published.column(layer, half, head)
        for token in range(block * size, min((block + 1) * size, comparison.tokens)):
            source = token + relation.tokens
            if 0 <= source < published.tokens and column[token] == column[source]:
                yield Place(layer, half, token, head)


def _without_swaps(said: Sequence[tuple[Part, Relation]]) -> Iterator[tuple[Part, Relation]]:
    """Two parts that have each other's KV, as one."""
    done: set[int] = set()
    for index, (part, relation) in enumerate(said):
        if index in done:
            continue
        there = {token + relation.tokens for token in part.tokens}
        for other_index, (other, back) in enumerate(said):
            is_swap = (
                _only_tokens(relation)
                and _only_tokens(back)
                and back.tokens == -relation.tokens
                and set(other.tokens) == there
                and other.rows == part.rows
            )
            if is_swap:
                done.add(other_index)
                yield (
                    min(part, other, key=lambda one: one.tokens),
                    Relation(kind="swapped", tokens=abs(relation.tokens)),
                )
                break
        else:
            yield part, relation


def _only_tokens(relation: Relation) -> bool:
    return bool(relation.tokens) and relation == Relation(kind="moved", tokens=relation.tokens)


def _came(part: Part, relation: Relation, comparison: Comparison) -> str:  # noqa: PLR0911 - one per kind
    """What the receiver has there. ``received`` and ``published`` are called by their members' names."""
    ours, theirs = comparison.received.one.member, comparison.published.one.member
    match relation.kind:
        case "zeros":
            return f"{ours}'s is zeros"
        case "nan":
            return f"{ours}'s is not finite (NaN or infinite)"
        case "scaled":
            return f"{ours}'s is {theirs}'s times {relation.factor:g}"
        case "rounded":
            return f"{ours}'s is nearly {theirs}'s, as after a round trip through fewer bits"
        case "swapped":
            other = part.at(token + relation.tokens for token in part.tokens)
            return f"exchanged with {other}"
        case "moved":
            return f"{ours}'s is {_origin(part, relation, comparison)}"
    return f"{ours}'s is like nothing that was seen in this run"


def _origin(part: Part, relation: Relation, comparison: Comparison) -> str:
    where = [*_halves(part, relation), *_heads(part, relation), *_layers(part, relation)]
    if relation.tokens:
        where.append(_tokens(part, relation.tokens))
    if relation.request:
        return f"what request {relation.request} had at {listed(where) or 'the same place'}"
    return f"{comparison.published.one.member}'s {listed(where)}"


def _halves(part: Part, relation: Relation) -> Iterator[str]:
    if relation.halves:
        halves = part.halves
        yield exchanged(halves[0]) if len(halves) == 1 else "other of K and V"


def _heads(part: Part, relation: Relation) -> Iterator[str]:
    if not relation.heads:
        return
    heads = part.heads
    if len(heads) == 1:
        yield f"head {(heads[0] + relation.heads) % part.of_heads}"
    else:
        back = relation.heads - part.of_heads
        yield _distance("head", relation.heads if relation.heads <= -back else back)


def _layers(part: Part, relation: Relation) -> Iterator[str]:
    if not relation.layers:
        return
    if len(part.layers) == 1:
        yield f"layer {part.layers[0] + relation.layers}"
    else:
        yield _distance("layer", relation.layers)


def _tokens(part: Part, distance: int) -> str:
    if len(part.blocks) == 1:
        return part.at(token + distance for token in part.tokens)
    if distance % part.block_size:
        return _distance("token", distance)
    return _distance("block", distance // part.block_size)


def _distance(noun: str, count: int) -> str:
    if abs(count) == 1:
        return f"previous {noun}" if count < 0 else f"next {noun}"
    return f"{noun} {-count} before" if count < 0 else f"{noun} {count} further on"
