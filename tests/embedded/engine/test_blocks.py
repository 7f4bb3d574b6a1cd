from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pdtest.embedded.engine.blocks import Blocks, block_hashes


def taken(blocks: Blocks, fresh: int, cached: tuple[int, ...] = ()) -> list[int]:
    found = blocks.allocate(cached, fresh)
    assert found is not None
    return found


def test_hashes_are_of_whole_blocks_and_all_before() -> None:
    one, two = block_hashes([1, 2, 3, 4, 5], 2)
    assert block_hashes([1, 2, 3, 4], 2) == [one, two]
    other = block_hashes([9, 2, 3, 4], 2)
    assert other[0] != one
    assert other[1] != two
    assert block_hashes([1], 2) == []


def test_hashes_go_on_from_known_ones() -> None:
    tokens = list(range(20))
    hashes = block_hashes(tokens, 4)
    assert block_hashes(tokens, 4, hashes[:3]) == hashes


def test_hashes_are_these_in_every_process() -> None:
    assert [one.hex() for one in block_hashes([1, 2, 300, 4], 2)] == [
        "2cc5e4d47c5f3c5fbe635a5a5b7bb392",
        "948f202c45e28344dcd1374ca258039a",
    ]


def test_allocates_what_there_is() -> None:
    blocks = Blocks(3)
    assert sorted(taken(blocks, 3)) == [0, 1, 2]
    assert blocks.allocate((), 1) is None
    assert (blocks.used, blocks.free) == (3, 0)
    blocks.release([1])
    assert taken(blocks, 1) == [1]


def test_spare_blocks_stay_free() -> None:
    blocks = Blocks(3)
    assert blocks.allocate((), 2, spare=2) is None
    assert blocks.free == 3
    assert taken(blocks, 1)
    assert blocks.allocate((), 1, spare=1) is not None


def test_a_released_prefix_is_found_until_its_room_is_needed() -> None:
    blocks = Blocks(4)
    first, second = taken(blocks, 2)
    blocks.enter(first, b"1")
    blocks.enter(second, b"2")
    blocks.release([first, second])
    assert blocks.match([b"1", b"2", b"3"]) == [first, second]
    assert blocks.match([b"2"]) == [second]
    assert blocks.match([b"3", b"1"]) == []
    taken(blocks, 2)
    assert blocks.match([b"1", b"2"]) == [first, second]
    # The end of a prefix goes before its beginning.
    assert taken(blocks, 1) == [second]
    assert blocks.match([b"1", b"2"]) == [first]


def test_the_longest_unused_prefix_goes_first() -> None:
    blocks = Blocks(2)
    one, two = taken(blocks, 2)
    blocks.enter(one, b"1")
    blocks.enter(two, b"2")
    blocks.release([one])
    blocks.release([two])
    blocks.release(taken(blocks, 0, (one,)))
    assert taken(blocks, 1) == [two]


def test_a_block_in_use_is_not_given_away() -> None:
    blocks = Blocks(2)
    (one,) = taken(blocks, 1)
    blocks.enter(one, b"1")
    shared = taken(blocks, 0, (one,))
    blocks.release([one])
    assert taken(blocks, 1) != [one]
    assert blocks.allocate((), 1) is None
    blocks.release(shared)
    assert blocks.free == 1


def test_cached_blocks_do_not_count_as_room_for_others() -> None:
    blocks = Blocks(2)
    (one,) = taken(blocks, 1)
    blocks.enter(one, b"1")
    blocks.release([one])
    assert blocks.allocate((one,), 2) is None
    assert taken(blocks, 1, (one,))[0] == one


def test_what_is_known_twice_is_entered_once() -> None:
    blocks = Blocks(2)
    one, two = taken(blocks, 2)
    blocks.enter(one, b"1")
    blocks.enter(two, b"1")
    blocks.release([two, one])
    assert taken(blocks, 1) == [two]
    assert blocks.match([b"1"]) == [one]


def test_forgets_only_when_nothing_is_in_use() -> None:
    blocks = Blocks(2)
    (one,) = taken(blocks, 1)
    blocks.enter(one, b"1")
    assert not blocks.forget()
    assert blocks.match([b"1"]) == [one]
    blocks.release([one])
    assert blocks.forget()
    assert blocks.match([b"1"]) == []
    assert sorted(taken(blocks, 2)) == [0, 1]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6), st.booleans()), max_size=60))
def test_no_block_is_lost_or_given_twice(script: list[tuple[int, int, bool]]) -> None:
    blocks = Blocks(8)
    live: list[list[int]] = []
    for fresh, prefix, give_back in script:
        if give_back and live:
            blocks.release(live.pop(prefix % len(live)))
            continue
        hashes = [bytes([prefix, depth]) for depth in range(3)]
        found = blocks.match(hashes)
        got = blocks.allocate(found, fresh)
        if got is None:
            assert fresh > 8 - len({*found, *(block for one in live for block in one)})
            continue
        for block, content in zip(got, hashes, strict=False):
            blocks.enter(block, content)
        fresh_ones = got[len(found) :]
        assert not set(fresh_ones) & {block for one in live for block in one}
        assert len(set(got)) == len(got)
        live.append(got)
        assert blocks.used == len({block for one in live for block in one})
    for one in live:
        blocks.release(one)
    assert blocks.free == 8
