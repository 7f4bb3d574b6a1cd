from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdtest.embedded.connectors.arrivals import Arrivals, NotArrived, NotTaken, Piece
from pdtest.embedded.model.memory import Heads

from .fakes import CONFIG, FakeHost, make_host, settled

ALL = Heads(first=0, count=4)


def arrivals(host: FakeHost, *, limit_bytes: int = 1 << 20, keep_s: float = 60.0) -> Arrivals:
    return Arrivals(host, limit_bytes=limit_bytes, keep_s=keep_s)


def piece(source: FakeHost, layer: int, first: int, blocks: int, *, rank: int = 0) -> Piece:
    memory = source.memories[rank]
    layers = slice(layer, layer + 1)
    return Piece(
        rank=rank,
        layer=layer,
        first_block=first,
        blocks=blocks,
        heads=memory.heads,
        content=memory.read(range(first, first + blocks), memory.heads, layers=layers),
    )


def small(blocks: int = 1, layer: int = 0) -> Piece:
    return Piece(rank=0, layer=layer, first_block=0, blocks=blocks, heads=ALL, content=bytes(100))


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_pieces_of_any_size_in_any_order(data: st.DataObject) -> None:
    """Whatever the pieces, and whatever part of the prompt is wanted: that part arrives, and no more."""
    ranks = data.draw(st.sampled_from([1, 2, 4]))
    blocks = data.draw(st.integers(1, 8))
    first = data.draw(st.integers(0, blocks - 1))
    cuts = sorted(data.draw(st.sets(st.integers(1, blocks))) | {blocks})
    source, host = make_host(ranks=ranks, seed=1), make_host(ranks=ranks, seed=2)
    pieces = [
        piece(source, layer, start, end - start, rank=rank)
        for rank in range(ranks)
        for layer in range(CONFIG.layers)
        for start, end in zip([0, *cuts], cuts, strict=False)
    ]
    order = data.draw(st.permutations(pieces))
    local = data.draw(st.permutations(range(12)))[:blocks]

    async def run() -> None:
        kept = arrivals(host)
        waiting = asyncio.create_task(kept.wait("r", first, blocks, timeout_s=5))
        for one in order:
            kept.put("r", one)
        await waiting
        expected = host.kv(range(12)).copy()
        expected[:, :, local[first:]] = source.kv(range(first, blocks))
        kept.take("r", local, first, blocks)
        np.testing.assert_array_equal(host.kv(range(12)), expected)
        kept.close()
        assert kept.kept == 0

    asyncio.run(run())


async def test_what_is_missing_is_named() -> None:
    source, host = make_host(seed=1), make_host(seed=2)
    kept = arrivals(host)
    kept.put("r", piece(source, 0, 0, 2))
    kept.put("r", piece(source, 1, 0, 1))
    with pytest.raises(NotArrived, match=r"after 0\.05 s 5 of 6 .*, the first is block 2 of layer 0"):
        await kept.wait("r", 1, 3, timeout_s=0.05)
    kept.close()


async def test_a_failure_is_heard_by_who_waits() -> None:
    kept = arrivals(make_host())
    waiting = asyncio.create_task(kept.wait("r", 0, 1, timeout_s=5))
    await asyncio.sleep(0)
    kept.fail("r", "prefill failed")
    with pytest.raises(NotArrived, match="prefill failed"):
        await waiting
    kept.fail("other", "nobody waits for that")
    kept.close()


async def test_what_nobody_claims_goes_after_a_while() -> None:
    kept = arrivals(make_host(), keep_s=0.05)
    kept.put("unclaimed", small())
    kept.put("claimed", small())
    kept.claim("claimed", "a")
    await settled(lambda: kept.kept == 100)
    kept.done("claimed", "b")
    assert kept.kept == 100
    kept.done("claimed", "a")
    assert kept.kept == 0


async def test_it_stays_until_all_have_it() -> None:
    kept = arrivals(make_host())
    kept.claim("r", "a")
    kept.claim("r", "b")
    kept.put("r", small())
    kept.done("r", "a")
    assert kept.kept == 100
    kept.done("r", "b")
    assert kept.kept == 0


async def test_unclaimed_parcels_make_room_the_oldest_first() -> None:
    kept = arrivals(make_host(), limit_bytes=300)
    kept.claim("claimed", "a")
    for name in ("claimed", "old", "young"):
        kept.put(name, small())
    kept.put("new", small())
    assert list(kept._parcels) == ["claimed", "young", "new"]
    kept.claim("young", "a")
    kept.claim("new", "a")
    with pytest.raises(NotTaken, match="no room for 100 bytes, 300 are kept"):
        kept.put("late", small())
    kept.close()


async def test_what_comes_twice_counts_once() -> None:
    kept = arrivals(make_host())
    for layer in range(CONFIG.layers):
        half = Piece(
            rank=0, layer=layer, first_block=0, blocks=1, heads=Heads(first=0, count=2), content=bytes(100)
        )
        kept.put("r", half)
        kept.put("r", half)
    assert kept.kept == 100 * CONFIG.layers
    with pytest.raises(NotArrived):
        await kept.wait("r", 0, 1, timeout_s=0.01)
    kept.close()


async def test_a_piece_of_the_wrong_size() -> None:
    kept = arrivals(make_host())
    kept.put("r", small())
    with pytest.raises(ValueError, match="100 bytes for KV of shape"):
        kept.take("r", [0], 0, 1)
    kept.close()
