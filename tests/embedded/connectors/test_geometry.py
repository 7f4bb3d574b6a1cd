from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdtest.embedded.connectors.geometry import Geometry, shares
from pdtest.embedded.model.memory import heads_of_rank

from .fakes import make_host

RANKS = st.sampled_from([1, 2, 4, 8])


@given(mine=RANKS, theirs=RANKS)
def test_every_head_comes_once_and_from_who_owns_it(mine: int, theirs: int) -> None:
    own = [heads_of_rank(8, mine, rank) for rank in range(mine)]
    found = shares(own, 8, theirs)
    moved = [head for share in found for head in range(share.heads.first, share.heads.end)]
    assert sorted(moved) == list(range(8))
    for share in found:
        assert own[share.local].common(share.heads) == share.heads
        assert heads_of_rank(8, theirs, share.remote).common(share.heads) == share.heads


def test_ranks_that_do_not_divide_the_heads() -> None:
    with pytest.raises(ValueError, match="4 KV heads cannot be dealt out to 3"):
        shares([heads_of_rank(4, 1, 0)], 4, 3)


def test_differences_are_named() -> None:
    here = Geometry.of(make_host(), "pull")
    assert here.differences(here.spoken()) == ""
    other = {**here.spoken(), "block_size": 8, "mode": "push"}
    assert here.differences(other) == "block_size is 4 here and 8 there, mode is pull here and push there"
    assert "layers is 3 here and None there" in here.differences({})
