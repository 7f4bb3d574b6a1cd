"""Every planted bug of the catalogue that alters KV: the X-ray names exactly the rows that were altered."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pdtest.embedded.connectors.corruptions import Corruption
from pdtest.embedded.model.memory import Array
from pdtest.kills.kv import KV
from pdtest.kills.mutant import Mutant, Place
from pdtest.xray import Diagnosis, Half

from .conftest import MakePair
from .test_located import SIZE, prompt

#: The last block has more than half of its tokens: half a block less changes something.
LENGTH = 3 * SIZE + 13
ALTERING = [mutant for mutant in KV if mutant.place is Place.KV]
#: Each on one rank; what has to do with heads also from two ranks to one.
CASES = [(mutant, 1) for mutant in ALTERING] + [(mutant, 2) for mutant in ALTERING if "head" in mutant.switch]
#: (layer, K or V, token, head)
Row = tuple[int, Half, int, int]


@pytest.fixture
def altered(monkeypatch: pytest.MonkeyPatch) -> list[set[Row]]:
    """By transfer: the rows of the prompt that are not what arrived, bit for bit."""
    seen: list[set[Row]] = []
    apply = Corruption.apply

    def watched(self: Corruption, received: Array, before: Array) -> Array:
        result = apply(self, received, before)
        seen.append(_differing(received, result))
        return result

    monkeypatch.setattr(Corruption, "apply", watched)
    return seen


def _differing(one: Array, other: Array) -> set[Row]:
    """Arrays of shape (layers, 2, blocks, block_size, kv_heads, head_dim)."""
    differs = (one.view(np.uint32) != other.view(np.uint32)).any(axis=-1)
    halves = tuple(Half)
    places: Any = np.argwhere(differs)
    rows = {
        (int(layer), halves[half], int(block) * SIZE + int(token), int(head))
        for layer, half, block, token, head in places
    }
    # The last block is not full.
    return {row for row in rows if row[2] < LENGTH}


def _named(diagnosis: Diagnosis) -> set[Row]:
    return {(one.layer, one.half, token, one.head) for one in diagnosis.mismatches for token in one.tokens}


@pytest.mark.parametrize(("mutant", "ranks"), CASES, ids=lambda one: getattr(one, "name", str(one)))
async def test_what_it_altered_is_what_is_named(
    pair: MakePair, altered: list[set[Row]], mutant: Mutant, ranks: int
) -> None:
    """No row more, no row less: so layers, blocks, heads and tokens are exact, and so is K or V."""
    two = await pair(prefill={"tensor_ranks": ranks}, prefix_caching=False)
    assert (await two.diagnosis(prompt(0, LENGTH))).equal
    two.fault.write_text(mutant.switch)
    for load in range(Corruption.read(mutant.switch).after):
        await two.hand_over(prompt(load + 1, LENGTH))
        assert not altered, "it is right for as many loads as it says"
    seen = await two.diagnosis(prompt(1000, LENGTH), mutant.switch)
    assert altered
    assert altered[-1], "this bug alters nothing here: nothing could be named"
    assert _named(seen) == altered[-1]
