"""Arithmetic whose results do not depend on the order of summation, on shapes or on the BLAS at hand.

Why: an answer of the engine must not depend on what else was in the batch, on how a prompt was cut into
chunks, on prefix hits, or on how many tensor-parallel ranks share the heads. Floating-point sums usually
depend on all of these, since every order rounds differently. Here nothing is rounded inside a sum:

- Activations and KV are multiples of 2^-16 with magnitude at most 2^6 (`to_grid` sees to both). Such numbers
  have 22 bits, so float32 holds them exactly, and KV loses nothing in memory or on the wire.
- Weights, and the sines and cosines of the rotary embedding, are multiples of 2^-16 of at most 2^1.
- Sums are made in float64. A sum is exact in any order, with or without fused multiply-add, when all terms
  are multiples of one unit and the terms' magnitudes add up to at most 2^53 units:

  ==================================  ==========  =================  ===========================
  sum over                            unit        largest term       at most 2^53 units, if
  ==================================  ==========  =================  ===========================
  inputs of a linear layer            2^-32       2^6 * 2^1          inputs       <= 2^14
  a head's dimensions, q * k          2^-32       2^6 * 2^6          head_dim     <= 2^9
  squares of the hidden state         2^-32       2^6 * 2^6          hidden       <= 2^9
  positions, weight * v               2^-34       1 * 2^6            positions    <= 2^13
  attention weights of the positions  2^-18       1                  (follows)
  vocabulary, exp of the logits       2^-36       1                  vocabulary   <= 2^17
  ==================================  ==========  =================  ===========================

  `check` refuses a model that is beyond a bound.
- What is not a sum is computed element by element with operations that IEEE 754 rounds correctly
  (+ - * / sqrt, rint), or looked up in a table by an integer index. `numpy.exp` would be neither: its vector
  code may treat the end of an array otherwise than the middle. It fills the tables, once, and that is all.

What arrives from another engine and was damaged on its way may be no number at all. The bounds are kept
with ``fmin`` and ``fmax``, which drop NaN, so that damage ends in wrong tokens and not in a crash.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from pdtest.embedded.model.config import BadModel, ModelConfig

Floats = npt.NDArray[np.float64]

#: Grid units per 1.
UNITS: Final = 2.0**16
#: No activation is larger, no weight either.
LARGEST: Final = 2.0**6
LARGEST_WEIGHT: Final = 2.0

#: Attention scores are rounded to multiples of 1 / SCORE_UNITS, the weights to multiples of 2^-18.
SCORE_UNITS: Final = 2.0**10
_WEIGHT_UNITS = 2.0**18
#: exp(-d / SCORE_UNITS) in weight units, for d = 0, 1, ...; the last one is 0 and stands for all beyond.
_WEIGHTS: Final = np.rint(np.exp(np.arange(14 * int(SCORE_UNITS) + 1) / -SCORE_UNITS) * _WEIGHT_UNITS)

#: exp of a difference of logits as exp of its high bits times exp of its low bits, in units of 2^-36.
_EXP_UNITS = 2.0**36
_LOW_BITS = 9
_HIGH: Final = np.exp(np.arange((2 * int(LARGEST) << (16 - _LOW_BITS)) + 1) * (-(2.0**_LOW_BITS) / UNITS))
_LOW: Final = np.exp(np.arange(1 << _LOW_BITS) / -UNITS)


def check(config: ModelConfig) -> None:
    """Raises BadModel when sums over this model would not be exact; see the table above."""
    inputs = max(config.hidden, config.heads * config.head_dim, config.intermediate)
    for name, seen, bound in (
        ("the widest linear layer", inputs, 2**14),
        ("head_dim", config.head_dim, 2**9),
        ("hidden_size", config.hidden, 2**9),
        ("max_position_embeddings", config.max_positions, 2**13),
        ("vocab_size", config.vocab_size, 2**17),
    ):
        if seen > bound:
            raise BadModel(f"{name} is {seen}; arithmetic is exact up to {bound} only")


def to_grid(values: Floats) -> Floats:
    """Rounded and bounded as activations are. In place; the argument is returned."""
    values *= UNITS
    np.fmax(values, -LARGEST * UNITS, out=values)
    np.fmin(values, LARGEST * UNITS, out=values)
    np.rint(values, out=values)
    values *= 1 / UNITS
    return values


def normalised(values: Floats) -> Floats:
    """Each row divided by its root mean square. A new array, on the grid."""
    squares = np.einsum("ij,ij->i", values, values)[:, None]
    squares *= 1 / values.shape[1]
    squares += 2.0**-16
    np.sqrt(squares, out=squares)
    return to_grid(values / squares)


def gated(gate: Floats, up: Floats) -> Floats:
    """``up`` times a smooth gate, g * (1 + g / (1 + |g|)) / 2: SiLU's shape without its exp.

    A new array, on the grid.
    """
    share = np.abs(gate)
    share += 1
    np.divide(gate, share, out=share)
    share += 1
    share *= gate
    share *= up
    share *= 0.5
    return to_grid(share)


def attention_weights(scores: Floats) -> Floats:
    """exp(score - the row's largest), in units of 2^-18: integers. In place; the argument is returned.

    ``scores`` are in units of 1 / SCORE_UNITS and need not be whole. A score of -inf has the weight 0.
    """
    np.rint(scores, out=scores)
    np.subtract(scores.max(axis=-1, keepdims=True), scores, out=scores)
    # No number at all, as from damaged KV, becomes the last entry here.
    np.fmin(scores, len(_WEIGHTS) - 1, out=scores)
    np.take(_WEIGHTS, scores.astype(np.int32), out=scores, mode="clip")
    return scores


def exp_parts(distance: Floats) -> Floats:
    """exp(-distance) in units of 2^-36, as integers. ``distance`` is on the grid and not negative."""
    index = np.fmin(distance * UNITS, 2 * LARGEST * UNITS).astype(np.int64)
    parts: Floats = _HIGH[index >> _LOW_BITS] * _LOW[index & ((1 << _LOW_BITS) - 1)]
    parts *= _EXP_UNITS
    np.rint(parts, out=parts)
    return parts


def log_softmax(logits: Floats) -> Floats:
    """Natural log-probabilities of one row of logits that are on the grid."""
    distance: Floats = logits.max() - logits
    total = float(exp_parts(distance).sum()) / _EXP_UNITS
    np.negative(distance, out=distance)
    distance -= math.log(total)
    return distance
