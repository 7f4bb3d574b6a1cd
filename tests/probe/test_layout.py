from __future__ import annotations

import numpy as np
import pytest

from pdtest.embedded.connectors import digests as embedded
from pdtest.probe import digests as probe
from pdtest.probe.layout import Layout

BLOCKS, SIZE, HEADS, DIM = 3, 4, 2, 8


@pytest.fixture
def halves() -> np.ndarray:
    """K and V of three blocks: (2, blocks, tokens, heads, dim)."""
    return np.random.default_rng(1).standard_normal((2, BLOCKS, SIZE, HEADS, DIM), dtype=np.float32)


def layout(**changes: object) -> Layout:
    return Layout(**{"block_axis": 0, "parts": 1, "block_size": SIZE, "heads": HEADS, **changes})  # type: ignore[arg-type]


def check(content: np.ndarray, halves: np.ndarray, how: Layout) -> None:
    keys, values = how.split(np.ascontiguousarray(content))
    expected = halves.reshape(2, BLOCKS * SIZE, HEADS, DIM)
    np.testing.assert_array_equal(keys, expected[0])
    np.testing.assert_array_equal(values, expected[1])


def test_k_and_v_apart_tokens_first(halves: np.ndarray) -> None:
    check(halves.swapaxes(0, 1), halves, layout())


def test_k_and_v_apart_heads_first(halves: np.ndarray) -> None:
    check(halves.transpose(1, 0, 3, 2, 4), halves, layout())


def test_k_and_v_side_by_side(halves: np.ndarray) -> None:
    both = np.concatenate(list(halves), axis=-1)
    check(both.swapaxes(1, 2), halves, layout())


def test_a_backend_that_mixes_a_heads_numbers(halves: np.ndarray) -> None:
    # As on CPU: K first, transposed, then V.
    keys, values = halves.transpose(0, 1, 3, 2, 4)
    columns = keys.swapaxes(2, 3).reshape(BLOCKS, HEADS, -1)
    mixed = np.concatenate([columns, values.reshape(BLOCKS, HEADS, -1)], axis=-1)
    places = np.arange(SIZE * DIM)
    of_keys, of_values = places.reshape(DIM, SIZE).T, SIZE * DIM + places.reshape(SIZE, DIM)
    how = layout(places=np.stack([of_keys, of_values]))
    check(mixed.reshape(BLOCKS, HEADS, SIZE, 2 * DIM), halves, how)


def test_without_v(halves: np.ndarray) -> None:
    keys, values = layout().split(np.ascontiguousarray(halves[0, :, :, 0]))
    np.testing.assert_array_equal(keys[:, 0], halves[0, :, :, 0].reshape(-1, DIM))
    assert not values.any()


def test_both_engines_digest_alike(halves: np.ndarray) -> None:
    ours, theirs = embedded.digests(halves), probe.digests(halves)
    for name in ("exact", "projection", "peak"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))


def test_what_digests_tell() -> None:
    row = np.random.default_rng(2).standard_normal((1, DIM), dtype=np.float32)
    plain = probe.digests(row)
    assert (probe.digests(row.copy()).exact == plain.exact).all()
    for changed in (np.nextafter(row, 9), row[:, ::-1], -row, np.roll(row, 1)):
        assert probe.digests(changed.astype(np.float32)).exact != plain.exact
    doubled = probe.digests(row * 2)
    assert doubled.projection == 2 * plain.projection
    assert doubled.peak == 2 * plain.peak
    nothing = probe.digests(np.zeros_like(row))
    assert not any((nothing.exact.any(), nothing.projection.any(), nothing.peak.any()))
