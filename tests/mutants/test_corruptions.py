"""Engines of both kinds have the same bugs under the same names."""

from __future__ import annotations

import numpy as np
import pytest

from pdtest.embedded.connectors import corruptions as embedded
from pdtest.kills.kv import KV
from pdtest.mutants import corruptions

SHAPE = (4, 2, 5, 16, 4, 8)
#: Noise is another one each time; how much of the KV it hits must be the same.
NOISE = {"one-head", "one-layer", "one-token"}


@pytest.mark.parametrize("switch", sorted({mutant.switch for mutant in KV}))
def test_each_word_does_the_same_as_in_the_embedded_engine(switch: str) -> None:
    random = np.random.default_rng(7)
    received, before = (random.standard_normal(SHAPE, dtype=np.float32) for _ in range(2))
    here = corruptions.Corruption.read(switch).apply(received, before)
    there = embedded.Corruption.read(switch).apply(received, before)
    assert not np.array_equal(here, received)
    if switch.partition(",")[0] in NOISE:
        np.testing.assert_array_equal(here != received, there != received)
    else:
        np.testing.assert_array_equal(here, there)


def test_there_are_no_other_words() -> None:
    assert set(corruptions.KINDS) == set(embedded.KINDS)


@pytest.mark.parametrize("text", ["swaped", "scaled,layers=1", "zeroed,half=w"])
def test_what_is_none_is_refused_by_both(text: str) -> None:
    with pytest.raises(corruptions.BadCorruption) as here:
        corruptions.Corruption.read(text)
    with pytest.raises(embedded.BadCorruption) as there:
        embedded.Corruption.read(text)
    assert str(here.value) == str(there.value)
