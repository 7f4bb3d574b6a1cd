"""Sets of places in words: layers 0..3, block 3 (tokens 48..63), all KV heads, K and V."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from pdtest.xray.exposure import Exposure, Half, Place


@dataclass(frozen=True, kw_only=True)
class Part:
    """All combinations of some layers, of some heads of K or V, and of some tokens.

    ``of_layers``, ``of_heads`` and ``of_tokens`` are how many there are; ``cached``: so many tokens were in
    the receiver's prefix cache.
    """

    layers: tuple[int, ...]
    rows: tuple[tuple[Half, int], ...]
    tokens: tuple[int, ...]
    block_size: int
    of_layers: int
    of_heads: int
    of_tokens: int
    cached: int = 0

    @property
    def halves(self) -> list[Half]:
        """K, V or both."""
        return sorted({half for half, _ in self.rows})

    @property
    def heads(self) -> list[int]:
        """Of either half."""
        return sorted({head for _, head in self.rows})

    @property
    def blocks(self) -> list[int]:
        """Those that hold the tokens."""
        return sorted({token // self.block_size for token in self.tokens})

    def at(self, tokens: Iterable[int]) -> str:
        """Tokens in words: their blocks, and which tokens that is."""
        wanted = sorted(set(tokens))
        blocks = sorted({token // self.block_size for token in wanted})
        return f"{ranged('block', blocks)} ({ranged('token', wanted)})"

    def __str__(self) -> str:
        layers = "all layers" if 1 < self.of_layers == len(self.layers) else ranged("layer", self.layers)
        heads = "all KV heads" if 1 < self.of_heads == len(self.heads) else ranged("KV head", self.heads)
        where = "all blocks" if self._everywhere else self.at(self.tokens)
        cached = " from the prefix cache" if self.tokens[-1] < self.cached else ""
        return f"{layers}, {where}{cached}, {heads}, {' and '.join(self.halves)}"

    @property
    def _everywhere(self) -> bool:
        return len(self.tokens) == self.of_tokens and len(self.blocks) > 1


def places_of(places: Iterable[Place], received: Exposure) -> Iterator[Part]:
    """The fewest parts that are easily found: alike tokens are put together, then alike layers."""
    tokens: defaultdict[tuple[int, Half, int], set[int]] = defaultdict(set)
    for layer, half, token, head in places:
        tokens[layer, half, head].add(token)
    by_tokens: defaultdict[frozenset[int], defaultdict[int, set[tuple[Half, int]]]] = defaultdict(
        lambda: defaultdict(set)
    )
    for (layer, half, head), those in tokens.items():
        by_tokens[frozenset(those)][layer].add((half, head))
    for alike, by_layer in by_tokens.items():
        for rows in set(map(frozenset, by_layer.values())):
            for heads in _split(rows):
                yield Part(
                    layers=tuple(sorted(layer for layer, own in by_layer.items() if own == rows)),
                    rows=heads,
                    tokens=tuple(sorted(alike)),
                    block_size=received.block_size,
                    of_layers=len(received.layers),
                    of_heads=len(received.heads),
                    of_tokens=received.tokens,
                    cached=received.one.cached,
                )


def _split(rows: frozenset[tuple[Half, int]]) -> Iterator[tuple[tuple[Half, int], ...]]:
    """K and V together where the same heads are meant, else apart."""
    heads = {half: frozenset(head for one, head in rows if one is half) for half in Half}
    if heads[Half.K] == heads[Half.V]:
        yield tuple(sorted(rows))
        return
    for half in Half:
        if heads[half]:
            yield tuple((half, head) for head in sorted(heads[half]))


def ranged(noun: str, numbers: Sequence[int]) -> str:
    """`block 3`, `blocks 3..5`, `blocks 1, 4..6`."""
    runs = [f"{first}..{last}" if first != last else f"{first}" for first, last in _runs(numbers)]
    many = "s" if len(numbers) > 1 else ""
    return f"{noun}{many} {', '.join(runs)}"


def listed(items: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else "".join(items)


def _runs(numbers: Iterable[int]) -> list[tuple[int, int]]:
    pairs = enumerate(sorted(set(numbers)))
    groups = (list(group) for _, group in groupby(pairs, key=lambda pair: pair[1] - pair[0]))
    return [(group[0][1], group[-1][1]) for group in groups]
