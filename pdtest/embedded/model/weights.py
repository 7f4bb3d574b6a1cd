"""Random weights, the same for equal configs on every machine and with every version of numpy.

They are drawn with splitmix64 from (seed, matrix, element), not with a generator of numpy, whose streams may
change between versions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from pdtest.embedded.model.config import ModelConfig
from pdtest.embedded.model.exact import LARGEST_WEIGHT, SCORE_UNITS, UNITS, Floats

# How strongly each part acts: the root mean square of its output for an input of 1. Found by trial, see
# tests/embedded/model/test_transformer.py for what they must achieve: strong enough that every token of the
# prompt counts in the answer, and that a greedy answer does not run in circles.
_EMBEDDING: Final = 1.0
_QUERY_KEY: Final = 2.0
_VALUE: Final = 1.5
_OUT: Final = 2.0
_GATE_UP: Final = 1.5
_DOWN: Final = 1.5
_HEAD: Final = 3.0
#: The largest score that a position has of its own.
_POSITION: Final = 2.0

#: The first tokens are <eos>, <pad>, <bos> (tokenizer.py). Their logits are 0, which a greedy answer does
#: not choose: answers end where a test wants them to (max_tokens, stop, or logit_bias for <eos>).
_SPECIAL: Final = 3


@dataclass(frozen=True, kw_only=True)
class Layer:
    """Matrices of one layer; inputs in rows, outputs in columns.

    ``qkv``: queries of all heads, then keys, then values. ``gate_up``: the gate's outputs, then the others.
    """

    qkv: Floats
    out: Floats
    gate_up: Floats
    down: Floats


@dataclass(frozen=True, kw_only=True)
class Weights:
    """All weights. ``cos`` and ``sin``: (positions, head_dim / 2) of the rotary embedding.

    ``position``: (heads, positions), what is added to the attention scores of a position, in their units.
    With the rotary embedding alone, keys tell by themselves where they belong: two blocks that are swapped
    on their way would give the same answer.
    """

    embedding: Floats
    layers: tuple[Layer, ...]
    head: Floats
    cos: Floats
    sin: Floats
    position: Floats

    @classmethod
    def random(cls, config: ModelConfig) -> Weights:
        """What ``config.seed`` decides."""
        draw = _Draw(config.seed)
        queries, keys = config.heads * config.head_dim, config.kv_heads * config.head_dim
        layers = tuple(
            Layer(
                qkv=np.concatenate(
                    [
                        draw(config.hidden, queries, _QUERY_KEY),
                        draw(config.hidden, keys, _QUERY_KEY),
                        draw(config.hidden, keys, _VALUE),
                    ],
                    axis=1,
                ),
                out=draw(queries, config.hidden, _OUT),
                gate_up=draw(config.hidden, 2 * config.intermediate, _GATE_UP),
                down=draw(config.intermediate, config.hidden, _DOWN),
            )
            for _ in range(config.layers)
        )
        cos, sin = _rotation(config)
        head = draw(config.hidden, config.vocab_size, _HEAD)
        head[:, [*range(min(_SPECIAL, config.vocab_size)), config.eos_id]] = 0
        return cls(
            # One input makes one row, so the strength is that of a single weight.
            embedding=draw(1, config.vocab_size * config.hidden, _EMBEDDING).reshape(-1, config.hidden),
            layers=layers,
            head=head,
            cos=cos,
            sin=sin,
            position=draw.uniform(config.heads * config.max_positions, _POSITION * SCORE_UNITS)
            .round()
            .reshape(config.heads, config.max_positions),
        )


class _Draw:
    """Uniform random matrices on the grid, each call another one."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._matrices = 0

    def __call__(self, inputs: int, outputs: int, strength: float) -> Floats:
        """For inputs with a root mean square of 1, outputs have one of ``strength``."""
        # A uniform variable in [-1, 1] has a root mean square of 1 / sqrt(3).
        values = self.uniform(inputs * outputs, strength * float(np.sqrt(3 / inputs)))
        bounded = np.clip(values, -LARGEST_WEIGHT, LARGEST_WEIGHT)
        return np.asarray(np.rint(bounded * UNITS) / UNITS).reshape(inputs, outputs)

    def uniform(self, count: int, largest: float) -> Floats:
        """Numbers between - ``largest`` and ``largest``."""
        self._matrices += 1
        start = np.uint64((self._seed * 0x9E3779B97F4A7C15 + (self._matrices << 40)) % 2**64)
        bits = _splitmix(start + np.arange(count, dtype=np.uint64))
        return ((bits >> np.uint64(10)).astype(np.float64) * 2.0**-53 - 1) * largest


def _splitmix(
    state: np.ndarray[tuple[int], np.dtype[np.uint64]],
) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """The output function of splitmix64. Products wrap around, as they are meant to."""
    state = state * np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def _rotation(config: ModelConfig) -> tuple[Floats, Floats]:
    half = config.head_dim // 2
    angles = np.outer(np.arange(config.max_positions), config.rope_theta ** (-np.arange(half) / half))
    return np.rint(np.cos(angles) * UNITS) / UNITS, np.rint(np.sin(angles) * UNITS) / UNITS
