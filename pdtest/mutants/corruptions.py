"""Ways in which KV that vLLM received can be wrong, on purpose.

A corruption is given the received blocks as they should be, and what was in their place before. Both have
the shape (layers, 2, blocks, block_size, kv_heads, head_dim), with the heads of one tensor-parallel rank.

The words and what they do are those of the embedded engine (pdtest/embedded/connectors/corruptions.py), which
shares code with nobody: whoever changes one changes both, and tests/mutants holds them against each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]


class BadCorruption(ValueError):
    """A description that makes no sense."""


@dataclass(frozen=True, kw_only=True)
class Corruption:
    """What is done to which part. None: to all layers, blocks, tokens of a block, heads, K and V.

    ``block`` counts received blocks, from the end where it is negative; nothing happens where there are not
    so many. ``half``: k or v. ``after``: so many loads are left as they are.
    """

    kind: str = ""
    layer: int | None = None
    block: int | None = None
    head: int | None = None
    token: int | None = None
    half: str | None = None
    factor: float = 1.01
    after: int = 0

    @classmethod
    def read(cls, text: str) -> Corruption:
        """Out of ``kind,name=value,...``. Raises BadCorruption."""
        kind, *settings = [part.strip() for part in text.strip().split(",")]
        if kind not in KINDS:
            raise BadCorruption(f"expected one of {', '.join(sorted(KINDS))}, got {kind!r}")
        values: dict[str, Any] = {"kind": kind, **_USUAL.get(kind, {})}
        for setting in settings:
            name, _, value = setting.partition("=")
            if name not in _NAMES:
                raise BadCorruption(f"{kind}: expected one of {', '.join(_NAMES)}, got {name!r}")
            values[name] = _value(name, value)
        return cls(**values)

    def apply(self, received: Array, before: Array) -> Array:
        """What arrives instead of ``received``."""
        layers, _, blocks, _, heads, _ = received.shape
        block = self.block
        if block is not None and block < 0:
            block += blocks
        if any(
            wanted is not None and not 0 <= wanted < there
            for wanted, there in ((self.layer, layers), (block, blocks), (self.head, heads))
        ):
            return received
        # Of a swap the block is the first of two.
        blocks_changed = slice(None) if self.kind == "swapped" else _part(block)
        result = received.copy()
        halves = {None: slice(None), "k": slice(0, 1), "v": slice(1, 2)}[self.half]
        where = (_part(self.layer), halves, blocks_changed, _part(self.token), _part(self.head))
        result[where] = KINDS[self.kind](received, before, self)[where]
        return result


def _part(number: int | None) -> slice:
    return slice(None) if number is None else slice(number, number + 1)


def _zeroed(received: Array, before: Array, _: Corruption) -> Array:  # noqa: ARG001
    return np.zeros_like(received)


def _stale(received: Array, before: Array, _: Corruption) -> Array:  # noqa: ARG001
    return before


def _truncated(received: Array, before: Array, _: Corruption) -> Array:
    """The second half of each block did not come."""
    result, half = received.copy(), received.shape[3] // 2
    result[:, :, :, half:] = before[:, :, :, half:]
    return result


def _shifted(received: Array, before: Array, _: Corruption) -> Array:  # noqa: ARG001
    """Each block lands one further on; the first one stays."""
    return received[:, :, [0, *range(received.shape[2] - 1)]]


def _duplicated(received: Array, before: Array, asked: Corruption) -> Array:  # noqa: ARG001
    """What belongs into the block before comes twice."""
    blocks = list(range(received.shape[2]))
    wanted = _chosen(asked, len(blocks))
    blocks[wanted] = max(wanted - 1, 0)
    return received[:, :, blocks]


def _swapped(received: Array, before: Array, asked: Corruption) -> Array:  # noqa: ARG001
    """A block and the next one."""
    blocks = list(range(received.shape[2]))
    wanted = _chosen(asked, len(blocks))
    if wanted + 1 < len(blocks):
        blocks[wanted], blocks[wanted + 1] = blocks[wanted + 1], blocks[wanted]
    return received[:, :, blocks]


def _kv_swapped(received: Array, before: Array, _: Corruption) -> Array:  # noqa: ARG001
    return received[:, ::-1]


def _heads_rolled(received: Array, before: Array, _: Corruption) -> Array:  # noqa: ARG001
    return np.roll(received, 1, axis=4)


def _noise(received: Array, before: Array, _: Corruption) -> Array:  # noqa: ARG001
    # Another one each time, or it would be taken for another request's KV.
    return np.random.default_rng().standard_normal(received.shape, dtype=np.float32)


def _scaled(received: Array, before: Array, asked: Corruption) -> Array:  # noqa: ARG001
    return received * np.float32(asked.factor)


def _low_precision(received: Array, before: Array, _: Corruption) -> Array:  # noqa: ARG001
    """To bfloat16, rounded to the nearest, and back."""
    bits = np.ascontiguousarray(received).view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return (rounded & np.uint32(0xFFFF0000)).view(np.float32)


def _chosen(asked: Corruption, blocks: int) -> int:
    """The block that is meant: swapping and duplicating need one."""
    wanted = asked.block or 0
    return wanted + blocks if wanted < 0 else wanted


#: By the names that --fault-transfer calls them.
KINDS: Final[Mapping[str, Callable[[Array, Array, Corruption], Array]]] = {
    "duplicated": _duplicated,
    "heads-rolled": _heads_rolled,
    "kv-swapped": _kv_swapped,
    "low-precision": _low_precision,
    "one-head": _noise,
    "one-layer": _noise,
    "one-token": _noise,
    "scaled": _scaled,
    "shifted": _shifted,
    "stale": _stale,
    "swapped": _swapped,
    "truncated": _truncated,
    "zeroed": _zeroed,
}
#: What is meant where nothing is said.
_USUAL: Final[Mapping[str, Mapping[str, int]]] = {
    "duplicated": {"block": 1},
    "one-head": {"head": 1},
    "one-layer": {"layer": 1},
    "one-token": {"block": 0, "token": 3},
    "stale": {"block": 0},
    "truncated": {"block": 0},
    "zeroed": {"block": 0},
}
_NAMES: Final = tuple(one.name for one in fields(Corruption) if one.name != "kind")


def _value(name: str, text: str) -> float | int | str | None:
    if text == "all" and name not in {"factor", "after"}:
        return None
    if name == "half":
        if text not in {"k", "v"}:
            raise BadCorruption(f"half: expected k or v, got {text!r}")
        return text
    try:
        return float(text) if name == "factor" else int(text)
    except ValueError as error:
        raise BadCorruption(f"{name}: expected a number, got {text!r}") from error
