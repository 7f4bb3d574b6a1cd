"""Where an attention backend keeps what: from its memory to rows (tokens, heads, head_dim) of K and of V."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_Floats = npt.NDArray[np.float32]
_Places = npt.NDArray[np.int64]

_HALVES = 2
#: Numbers below it are exact in every float format that KV is kept in, fp8 excepted.
_DIGIT = 128


@dataclass(frozen=True, kw_only=True)
class Layout:
    """``block_axis`` of a layer's memory; ``parts`` blocks of the memory make one of the scheduler's.

    ``places``: of backends that mix a head's numbers within a block, where those of K and V are: (2, tokens,
    head_dim) of a block's numbers.
    """

    block_axis: int
    parts: int
    block_size: int
    heads: int
    places: _Places | None = None

    def rows(self, cache: Any, blocks: list[int]) -> tuple[_Floats, _Floats]:
        """K and V of ``blocks``, in float32, which holds each number of narrower formats exactly."""
        there = [block * self.parts + part for block in blocks for part in range(self.parts)]
        chosen = cache.movedim(self.block_axis, 0)[there]
        return self.split(chosen.float().cpu().numpy())

    def split(self, content: _Floats) -> tuple[_Floats, _Floats]:
        """K and V of whole blocks (blocks, ...), one token after the other.

        Known are (blocks, 2, tokens, heads, dim), (blocks, 2, heads, tokens, dim), (blocks, heads, tokens,
        dim of K and V), the same with the heads' numbers mixed, and what has no V: (blocks, tokens, dim).
        """
        if content.ndim == 5:  # noqa: PLR2004 - see above
            if content.shape[2] == self.heads and content.shape[2] != content.shape[3]:
                content = content.swapaxes(2, 3)
            keys, values = content[:, 0], content[:, 1]
        elif content.ndim == 3:  # noqa: PLR2004
            keys, values = content[:, :, None], np.zeros_like(content[:, :, None, :1])
        elif self.places is not None:
            flat = content.reshape(*content.shape[:2], -1)
            keys, values = (flat[..., half].swapaxes(1, 2) for half in self.places)
        else:
            keys, values = np.split(content.swapaxes(1, 2), _HALVES, axis=-1)
        return _merged(keys), _merged(values)


def _merged(half: _Floats) -> _Floats:
    return half.reshape(-1, *half.shape[2:])


def layout_of(vllm_config: Any, kv_cache_config: Any, cache: Any) -> Layout:
    """That of a layer's ``cache``. Blocks of the memory may be parts of the scheduler's."""
    from vllm.platforms import current_platform

    blocks, size = kv_cache_config.num_blocks, vllm_config.cache_config.block_size
    # (2, blocks, ...) of FlashAttention up to 0.2x, (blocks, ...) of everything else.
    axis = 1 if cache.shape[0] == _HALVES != blocks and cache.shape[1] % blocks == 0 else 0
    parts = cache.shape[axis] // blocks
    model = vllm_config.model_config
    layout = Layout(
        block_axis=axis,
        parts=parts,
        block_size=size // parts,
        heads=model.get_num_kv_heads(vllm_config.parallel_config),
    )
    if not current_platform.is_cpu():
        return layout
    return Layout(
        block_axis=axis,
        parts=parts,
        block_size=layout.block_size,
        heads=layout.heads,
        places=cpu_places(cache.dtype, layout.block_size, model.get_head_size()),
    )


def cpu_places(dtype: Any, block_size: int, head_dim: int) -> _Places:
    """Where vLLM's attention on CPU puts things (0.32, v1/attention/backends/cpu_attn.py).

    K stands first, then V; K is transposed, or packed, as suits the processor. So the kernel is asked: it
    stores tokens' numbers, then numbers' numbers.
    """
    token, number = np.divmod(np.arange(block_size * head_dim), head_dim)
    digits = (*_digits(token), *_digits(number))
    stored = [_stored(digit, dtype, block_size, head_dim) for digit in digits]
    tokens = stored[0] + _DIGIT * stored[1]
    numbers = stored[2] + _DIGIT * stored[3]
    return np.stack(
        [
            half * block_size * head_dim
            + np.lexsort((numbers[half], tokens[half])).reshape(block_size, head_dim)
            for half in range(_HALVES)
        ]
    )


def _digits(numbers: _Places) -> tuple[_Places, _Places]:
    return numbers % _DIGIT, numbers // _DIGIT


def _stored(numbers: _Places, dtype: Any, block_size: int, head_dim: int) -> _Places:
    """Where they are after the kernel has stored them as K and V of a block: (2, tokens * head_dim)."""
    import torch
    from vllm import _custom_ops as ops
    from vllm.v1.attention.backends import cpu_attn

    block = torch.zeros(1, 1, block_size * _HALVES, head_dim, dtype=dtype)
    keys, values = block.chunk(_HALVES, dim=2)
    rows = torch.from_numpy(numbers).to(dtype).reshape(block_size, 1, head_dim)
    isa = cpu_attn._get_attn_isa(dtype, block_size, head_dim)  # noqa: SLF001 - no public way
    ops.cpu_attn_reshape_and_cache(rows, rows, keys, values, torch.arange(block_size), isa)
    return block.reshape(_HALVES, -1).long().numpy()  # type: ignore[no-any-return]
