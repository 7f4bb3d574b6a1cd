from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pdtest.embedded.store.space import Space


def test_neighbours_that_are_free_are_one_gap() -> None:
    space = Space(30)
    offsets = [space.allocate(10) for _ in range(3)]
    assert offsets == [0, 10, 20]
    assert space.allocate(1) is None
    space.free(0, 10)
    space.free(20, 10)
    assert space.allocate(20) is None
    space.free(10, 10)
    assert space.used == 0
    assert space.allocate(30) == 0


def test_an_empty_object_takes_nothing() -> None:
    space = Space(0)
    assert space.allocate(0) == 0
    space.free(0, 0)
    assert space.used == 0


@pytest.mark.parametrize(("offset", "size"), [(0, 5), (5, 10), (15, 10), (25, 10), (-5, 5), (8, 4)])
def test_what_is_not_taken_cannot_be_given_back(offset: int, size: int) -> None:
    space = Space(30)
    space.allocate(10)
    space.allocate(10)
    space.free(0, 10)
    with pytest.raises(ValueError, match="not taken"):
        space.free(offset, size)
    assert space.used == 10


def test_the_largest_gap_is_that_between_what_must_stay() -> None:
    space = Space(100)
    assert space.largest_gap_without([]) == 100
    assert space.largest_gap_without([(60, 10), (20, 10)]) == 30
    assert space.largest_gap_without([(0, 50), (55, 45)]) == 5


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.integers(-20, 12), max_size=60))
def test_ranges_never_overlap_and_the_sum_is_right(steps: list[int]) -> None:
    """Sizes to take; below 0: which of those taken to give back."""
    space = Space(40)
    taken: list[tuple[int, int]] = []
    for size in steps:
        if size < 0:
            if taken:
                space.free(*taken.pop(size % len(taken)))
            continue
        gap = space.largest_gap_without(taken)
        offset = space.allocate(size)
        assert (offset is None) == (gap < size)
        if offset is not None:
            ours = set(range(offset, offset + size))
            assert ours <= set(range(40))
            assert not any(ours & set(range(start, start + length)) for start, length in taken)
            taken.append((offset, size))
        assert space.used == sum(length for _, length in taken)
