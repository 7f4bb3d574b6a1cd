"""Paged KV of one tensor-parallel rank: the heads it owns, in blocks, for all layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Heads:
    """KV heads ``first`` to ``first + count - 1``, counted over the whole model."""

    first: int
    count: int

    @property
    def end(self) -> int:
        """One beyond the last."""
        return self.first + self.count

    def common(self, other: Heads) -> Heads | None:
        """The heads that both own; None when there are none."""
        first, end = max(self.first, other.first), min(self.end, other.end)
        return Heads(first=first, count=end - first) if first < end else None


def heads_of_rank(kv_heads: int, ranks: int, rank: int) -> Heads:
    """What tensor-parallel rank ``rank`` of ``ranks`` owns. Raises ValueError when they do not divide."""
    if kv_heads % ranks:
        raise ValueError(f"{kv_heads} KV heads cannot be dealt out to {ranks} tensor-parallel ranks")
    each = kv_heads // ranks
    return Heads(first=rank * each, count=each)


@dataclass(frozen=True, kw_only=True)
class KVMemory:
    """One rank's share of the KV cache.

    ``kv`` has the shape (layers, 2, blocks, block_size, heads.count, head_dim): K at index 0 of the second
    axis, V at 1.
    """

    heads: Heads
    kv: Array = field(repr=False)

    @classmethod
    def empty(cls, *, layers: int, blocks: int, block_size: int, heads: Heads, head_dim: int) -> KVMemory:
        """Zeros."""
        return cls(
            heads=heads, kv=np.zeros((layers, 2, blocks, block_size, heads.count, head_dim), np.float32)
        )

    @property
    def blocks(self) -> int:
        """How many blocks it has room for."""
        return int(self.kv.shape[2])

    def read(self, blocks: Sequence[int], heads: Heads, *, layers: slice = slice(None)) -> bytes:
        """The content of ``blocks``: C order (layers, 2, len(blocks), block_size, heads.count, head_dim).

        Raises IndexError for a block that does not exist, ValueError for heads that this rank does not own.
        """
        own = self._own(heads)
        self._check(blocks)
        return self.kv[layers][:, :, list(blocks)][..., own, :].tobytes()

    def write(
        self, blocks: Sequence[int], heads: Heads, content: bytes | memoryview, *, layers: slice = slice(None)
    ) -> None:
        """Put what `read` gave elsewhere. Raises as `read`, and ValueError when the size is not right."""
        own = self._own(heads)
        self._check(blocks)
        part: Any = self.kv[layers]
        shape = (part.shape[0], 2, len(blocks), part.shape[3], heads.count, part.shape[5])
        values = np.frombuffer(content, np.float32)
        if values.size != int(np.prod(shape)):
            raise ValueError(
                f"{values.nbytes} bytes for KV of shape {shape}, expected {int(np.prod(shape)) * 4}"
            )
        part[:, :, list(blocks), :, own, :] = values.reshape(shape)

    def _own(self, heads: Heads) -> slice:
        if heads.first < self.heads.first or heads.end > self.heads.end:
            raise ValueError(f"{heads} are not among {self.heads}")
        return slice(heads.first - self.heads.first, heads.end - self.heads.first)

    def _check(self, blocks: Sequence[int]) -> None:
        for block in blocks:
            if not 0 <= block < self.blocks:
                raise IndexError(f"block {block} does not exist, there are {self.blocks}")
