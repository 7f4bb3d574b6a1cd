from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdtest.embedded.model import exact
from pdtest.embedded.model.config import BadModel, ModelConfig

CONFIG = ModelConfig(
    layers=1,
    hidden=64,
    heads=8,
    kv_heads=4,
    head_dim=16,
    intermediate=128,
    vocab_size=259,
    eos_id=0,
    max_positions=4096,
)

activations = st.integers(-(2**22), 2**22).map(lambda units: units / exact.UNITS)
weights = st.integers(-(2**17), 2**17).map(lambda units: units / exact.UNITS)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(activations, weights), min_size=1, max_size=300), st.randoms())
def test_a_sum_does_not_depend_on_its_order(terms: list[tuple[float, float]], random: object) -> None:
    products = [one * other for one, other in terms]
    exactly = math.fsum(products)
    shuffled = list(products)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    total = 0.0
    for one in shuffled:
        total += one
    inputs, column = np.array([one for one, _ in terms]), np.array([other for _, other in terms])
    assert total == exactly
    assert float(inputs @ column) == exactly
    assert float((inputs[None] @ column[:, None])[0, 0]) == exactly


@pytest.mark.parametrize(
    ("terms", "unit", "largest"),
    [
        (2**14, 2**-32, exact.LARGEST * exact.LARGEST_WEIGHT),
        (2**9, 2**-32, exact.LARGEST**2),
        (2**13, 2**-34, exact.LARGEST),
        (2**17, 2**-36, 1),
    ],
)
def test_the_worst_case_of_each_bound_is_exact(terms: int, unit: float, largest: float) -> None:
    values = np.full(terms, largest - unit)
    values[::2] += unit
    assert float(np.cumsum(values)[-1]) == math.fsum(values)
    assert terms * largest / unit <= 2**53


@pytest.mark.parametrize(
    ("field", "beyond"),
    [
        ("hidden", 2**9 + 1),
        ("head_dim", 2**9 + 2),
        ("intermediate", 2**14 + 1),
        ("max_positions", 2**13 + 1),
        ("vocab_size", 2**17 + 1),
    ],
)
def test_a_model_beyond_a_bound_is_refused(field: str, beyond: int) -> None:
    exact.check(CONFIG)
    with pytest.raises(BadModel, match=str(beyond)):
        exact.check(replace(CONFIG, **{field: beyond}))


def test_the_grid_rounds_and_bounds() -> None:
    values = np.array([0.3, -1e9, 1e9, 2**-18, float("nan"), float("inf")])
    rounded = exact.to_grid(values)
    assert list(rounded[[1, 2, 3, 5]]) == [-64, 64, 0, 64]
    assert rounded[0] == round(0.3 * 2**16) / 2**16
    assert abs(rounded[4]) <= exact.LARGEST
    assert np.array_equal(exact.to_grid(rounded.copy()), rounded)


def test_float32_holds_what_is_on_the_grid() -> None:
    values = exact.to_grid(np.linspace(-64, 64, 100_001))
    assert np.array_equal(values.astype(np.float32).astype(np.float64), values)


def test_attention_weights_are_those_of_softmax() -> None:
    scores = np.array([[-3.0, 0.5, 2.25, -np.inf, -200.0]])
    shares = exact.attention_weights(scores * exact.SCORE_UNITS)
    expected = np.exp(scores - 2.25)
    assert np.allclose(shares / shares.max(), expected, atol=4e-6)
    assert np.array_equal(shares, np.rint(shares))
    assert list(shares[0, 3:]) == [0, 0]


def test_damaged_scores_weigh_nothing() -> None:
    shares = exact.attention_weights(np.array([[float("nan"), float("inf"), 1.0]]))
    assert np.isfinite(shares).all()


def test_log_softmax_is_right() -> None:
    logits = exact.to_grid(np.linspace(-20, 9, 259))
    expected = logits - logits.max() - np.log(np.exp(logits - logits.max()).sum())
    assert np.allclose(exact.log_softmax(logits), expected, atol=1e-9)


def test_log_softmax_at_the_ends_of_the_grid() -> None:
    logits = np.array([-exact.LARGEST, exact.LARGEST])
    assert exact.log_softmax(logits).tolist() == [-128.0, 0.0]


@settings(max_examples=30, deadline=None)
@given(st.lists(activations, min_size=1, max_size=200))
def test_log_softmax_of_a_row_is_the_same_wherever_it_lies(row: list[float]) -> None:
    alone = exact.log_softmax(np.array(row))
    for offset in range(4):
        memory = np.zeros(len(row) + 4)
        memory[offset : offset + len(row)] = row
        assert np.array_equal(exact.log_softmax(memory[offset : offset + len(row)]), alone)


def test_normalised_rows_have_the_same_size() -> None:
    rows = exact.to_grid(np.outer([0.5, 4.0], np.linspace(-1, 1, 64)))
    normalised = exact.normalised(rows)
    assert np.allclose(np.sqrt((normalised**2).mean(axis=1)), 1, atol=1e-3)
    assert np.isfinite(exact.normalised(np.zeros((1, 64)))).all()


def test_the_gate_opens_for_positive_values() -> None:
    gates = np.array([[-30.0, 0.0, 30.0]])
    assert exact.gated(gates, np.ones((1, 3))).tolist() == [
        [pytest.approx(-15 / 31, abs=1e-4), 0.0, pytest.approx(30 - 15 / 31, abs=1e-4)]
    ]
