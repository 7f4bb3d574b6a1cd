"""The model: a decoder-only transformer over paged KV, one code path for prompts, chunks and decoding.

Shapes in comments: T tokens of a step, S spans of equal length Q, L positions, H KV heads of a rank,
G query heads per KV head, D head_dim.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import numpy as np
import numpy.typing as npt

from pdtest.embedded.model import exact
from pdtest.embedded.model.config import ModelConfig
from pdtest.embedded.model.exact import Floats, to_grid
from pdtest.embedded.model.memory import KVMemory
from pdtest.embedded.model.weights import Weights

Indices = npt.NDArray[np.intp]

#: Attention is cut into pieces of about so many positions of KV and so many scores, to bound memory.
_POSITIONS: Final = 1 << 11
_SCORES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive tokens of one sequence: the ``start``-th and the following ones.

    The KV of tokens before ``start`` is in ``blocks``, whose room reaches to the span's end.
    ``logits``: for how many of the last tokens they are wanted.
    """

    tokens: Sequence[int]
    start: int
    blocks: Sequence[int]
    logits: int = 1

    @property
    def end(self) -> int:
        """One beyond the last position."""
        return self.start + len(self.tokens)


class Transformer:
    """Computes spans of several sequences at once, each rank's heads over that rank's memory.

    ``memories`` hold the KV heads of the tensor-parallel ranks, in order and without gaps.
    """

    def __init__(self, config: ModelConfig, weights: Weights, memories: Sequence[KVMemory]) -> None:
        exact.check(config)
        _keep_memory()
        self._config = config
        self._weights = weights
        self._memories = tuple(memories)
        self._block_size = int(memories[0].kv.shape[3])
        self._group = config.heads // config.kv_heads
        # Whole blocks of positions are attended to, also where the last one goes beyond the model's.
        beyond = -config.max_positions % self._block_size
        self._position = np.pad(weights.position, ((0, 0), (0, beyond)))
        # From q * k to scores in their units.
        self._scale = exact.SCORE_UNITS / float(np.sqrt(config.head_dim))

    def forward(
        self, spans: Sequence[Span], layer_computed: Callable[[int], None] | None = None
    ) -> list[Floats]:
        """Logits per span, (span.logits, vocabulary), on the grid. Writes the spans' KV.

        ``layer_computed`` is called with each layer's number once its KV is in the blocks. Spans are of
        different sequences.
        """
        # Spans of equal length are attended to together, so let them be neighbours; the longest contexts
        # next to each other, since a piece is padded to its longest.
        order = sorted(range(len(spans)), key=lambda i: (len(spans[i].tokens), spans[i].end))
        batch = _Batch([spans[i] for i in order], self._block_size)
        hidden = self._weights.embedding[batch.tokens]
        cos, sin = self._weights.cos[batch.positions, None], self._weights.sin[batch.positions, None]
        for number, layer in enumerate(self._weights.layers):
            queries, keys, values = self._split(to_grid(exact.normalised(hidden) @ layer.qkv))
            queries, keys = _rotated(queries, cos, sin), _rotated(keys, cos, sin)
            mixed = np.empty_like(queries)
            for memory in self._memories:
                own = slice(memory.heads.first, memory.heads.end)
                memory.kv[number, 0, batch.slots, batch.offsets] = keys[:, own]
                memory.kv[number, 1, batch.slots, batch.offsets] = values[:, own]
                self._attend(batch, memory.kv[number], own, queries, mixed)
            if layer_computed is not None:
                layer_computed(number)
            hidden = to_grid(hidden + mixed.reshape(len(hidden), -1) @ layer.out)
            gate, up = np.split(to_grid(exact.normalised(hidden) @ layer.gate_up), 2, axis=1)
            hidden = to_grid(hidden + exact.gated(gate, up) @ layer.down)
        logits = to_grid(exact.normalised(hidden[batch.wanted]) @ self._weights.head)
        pieces = np.split(logits, batch.bounds)
        return [piece for _, piece in sorted(zip(order, pieces, strict=True), key=lambda pair: pair[0])]

    def _split(self, qkv: Floats) -> tuple[Floats, Floats, Floats]:
        heads, kv_heads = self._config.heads, self._config.kv_heads
        split = qkv.reshape(len(qkv), heads + 2 * kv_heads, self._config.head_dim)
        return split[:, :heads], split[:, heads : heads + kv_heads], split[:, heads + kv_heads :]

    def _attend(
        self, batch: _Batch, cache: npt.NDArray[np.float32], own: slice, queries: Floats, mixed: Floats
    ) -> None:
        """Fill in ``mixed`` (T, heads, D) for the query heads that belong to the KV heads ``own``."""
        group, dim = self._group, self._config.head_dim
        heads = slice(own.start * group, own.stop * group)
        kv_heads = own.stop - own.start
        positions = self._position[heads].reshape(kv_heads, 1, group, -1)
        for piece in batch.pieces:
            spans, length = piece.tables.shape[0], piece.positions.shape[1]
            # (S, L, H, D) each.
            keys = cache[0][piece.tables].astype(np.float64).reshape(spans, -1, kv_heads, dim)
            values = cache[1][piece.tables].astype(np.float64).reshape(spans, -1, kv_heads, dim)
            keys_by_head, values_by_head = keys.transpose(0, 2, 3, 1), values.transpose(0, 2, 1, 3)
            position = positions[..., : keys.shape[1]]
            # Few enough queries at once that their scores stay in the processor's cache.
            step = max(1, _SCORES // (spans * kv_heads * group * keys.shape[1]))
            for first in range(0, length, step):
                rows = piece.rows[:, first : first + step]
                hidden = piece.beyond(first, first + step)
                # (S, Q, H * G, D) -> (S, H, Q * G, D): a KV head's queries in one matrix.
                asked = queries[rows, heads].reshape(spans, -1, kv_heads, group, dim).swapaxes(1, 2)
                scores = asked.reshape(spans, kv_heads, -1, dim) @ keys_by_head
                scores *= self._scale
                by_query = scores.reshape(spans, kv_heads, -1, group, scores.shape[-1])
                by_query += position
                np.copyto(by_query, -np.inf, where=hidden)
                shares = exact.attention_weights(scores)
                sums = shares @ values_by_head
                sums /= shares.sum(axis=-1, keepdims=True)
                answered = to_grid(sums).reshape(spans, kv_heads, -1, group, dim).swapaxes(1, 2)
                mixed[rows, heads] = answered.reshape(spans, -1, kv_heads * group, dim)


class _Piece:
    """Spans of equal length that are attended to together."""

    def __init__(self, spans: Sequence[Span], first_row: int, block_size: int) -> None:
        length = len(spans[0].tokens)
        blocks = [-(-span.end // block_size) for span in spans]
        widest = max(blocks)
        # A shorter sequence repeats a block of its own; what is there lies beyond its end.
        self.tables: Indices = np.array(
            [
                [*span.blocks[:count], *[span.blocks[0]] * (widest - count)]
                for span, count in zip(spans, blocks, strict=True)
            ],
            np.intp,
        )
        self.rows: Indices = first_row + np.arange(len(spans) * length).reshape(len(spans), length)
        starts = np.array([span.start for span in spans], np.intp)
        #: (S, Q)
        self.positions: Indices = starts[:, None] + np.arange(length)
        self._all: Indices = np.arange(widest * block_size)

    def beyond(self, first: int, end: int) -> npt.NDArray[np.bool_]:
        """Which positions the queries from ``first`` to ``end`` must not see: (S, 1, Q, 1, L)."""
        return self._all > self.positions[:, None, first:end, None, None]


class _Batch:
    """The spans of a step, laid out in rows, one per token."""

    def __init__(self, spans: Sequence[Span], block_size: int) -> None:
        self.tokens: Indices = np.array([token for span in spans for token in span.tokens], np.intp)
        positions = [position for span in spans for position in range(span.start, span.end)]
        self.positions: Indices = np.array(positions, np.intp)
        self.slots: Indices = np.array(
            [
                span.blocks[position // block_size]
                for span in spans
                for position in range(span.start, span.end)
            ],
            np.intp,
        )
        self.offsets: Indices = self.positions % block_size
        self.pieces = tuple(_pieces(spans, block_size))
        #: Rows whose logits are wanted, and where to cut them span by span.
        wanted: list[int] = []
        bounds: list[int] = []
        end = 0
        for span in spans:
            end += len(span.tokens)
            wanted.extend(range(end - span.logits, end))
            bounds.append(len(wanted))
        self.wanted: Indices = np.array(wanted, np.intp)
        self.bounds = bounds[:-1]


def _pieces(spans: Sequence[Span], block_size: int) -> Iterator[_Piece]:
    """Neighbours of equal length, so many that their padded KV stays within bounds."""
    row = 0
    for length, equal in groupby(spans, key=lambda span: len(span.tokens)):
        piece: list[Span] = []
        for span in equal:
            if piece and (len(piece) + 1) * (span.end + block_size) > _POSITIONS:
                yield _Piece(piece, row, block_size)
                row += len(piece) * length
                piece = []
            piece.append(span)
        yield _Piece(piece, row, block_size)
        row += len(piece) * length


def _keep_memory() -> None:
    """Make the C library keep the memory of arrays that are freed, for the arrays of the next step.

    Otherwise each step returns its megabytes to the system and asks for them again, and the page faults
    take three times as long as the computation. glibc raises its limits when a large piece is freed
    (mallopt(3), "dynamic mmap threshold"); the piece itself is never touched.
    """
    np.empty(24 << 20, np.uint8)


def _rotated(heads: Floats, cos: Floats, sin: Floats) -> Floats:
    """Rotary embedding of (T, heads, D): the two halves of a head turn against each other."""
    half = heads.shape[-1] // 2
    left, right = heads[..., :half], heads[..., half:]
    return to_grid(np.concatenate([left * cos - right * sin, right * cos + left * sin], axis=-1))
