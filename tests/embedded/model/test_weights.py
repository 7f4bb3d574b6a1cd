from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from pdtest.embedded.model import exact
from pdtest.embedded.model.config import ModelConfig
from pdtest.embedded.model.weights import Weights

CONFIG = ModelConfig(
    layers=2,
    hidden=32,
    heads=4,
    kv_heads=2,
    head_dim=8,
    intermediate=48,
    vocab_size=70,
    eos_id=5,
    max_positions=128,
    seed=3,
)


def matrices(weights: Weights) -> list[np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    layers = [one for layer in weights.layers for one in (layer.qkv, layer.out, layer.gate_up, layer.down)]
    return [weights.embedding, weights.head, weights.cos, weights.sin, *layers]


def test_equal_seeds_make_equal_weights() -> None:
    for one, other in zip(matrices(Weights.random(CONFIG)), matrices(Weights.random(CONFIG)), strict=True):
        assert np.array_equal(one, other)


def test_another_seed_makes_others() -> None:
    others = Weights.random(replace(CONFIG, seed=4))
    assert not np.array_equal(others.embedding, Weights.random(CONFIG).embedding)


def test_no_two_matrices_are_alike() -> None:
    first, second = Weights.random(CONFIG).layers
    assert not np.array_equal(first.qkv, second.qkv)
    assert abs(np.corrcoef(first.qkv.ravel(), second.qkv.ravel())[0, 1]) < 0.1


def test_the_weights_are_these_on_every_machine() -> None:
    digest = hashlib.sha256()
    for one in matrices(Weights.random(CONFIG)):
        digest.update(np.ascontiguousarray(one).tobytes())
    assert digest.hexdigest()[:16] == "3b2589db5fa4c56a"


def test_all_are_on_the_grid_and_bounded() -> None:
    for one in matrices(Weights.random(CONFIG)):
        assert np.array_equal(one * exact.UNITS, np.rint(one * exact.UNITS))
        assert np.abs(one).max() <= exact.LARGEST_WEIGHT


def test_special_tokens_are_not_chosen_of_their_own() -> None:
    head = Weights.random(CONFIG).head
    assert not head[:, [0, 1, 2, 5]].any()
    assert head[:, [3, 4, 6]].any(axis=0).all()


def test_positions_have_scores_of_their_own() -> None:
    position = Weights.random(CONFIG).position
    assert position.shape == (4, 128)
    assert np.array_equal(position, np.rint(position))
    assert 1.5 * exact.SCORE_UNITS < np.abs(position).max() <= 2 * exact.SCORE_UNITS
