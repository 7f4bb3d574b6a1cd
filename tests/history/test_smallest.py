"""Good and bad histories, made by the thousand: faults are found wherever they are, and shown alone."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdtest.events import Event
from pdtest.history import History, check, smallest

from .conftest import good, handoff, members
from .test_invariants import BROKEN

FAULTS = st.sampled_from(sorted(BROKEN))
NAMES = st.lists(st.sampled_from("defghij"), unique=True, max_size=5)


def interleaved(seed: int, *streams: list[Event]) -> list[Event]:
    """All events; those of one stream stay in their order."""
    chance = random.Random(seed)  # noqa: S311
    left = [list(reversed(stream)) for stream in streams]
    mixed: list[Event] = []
    while any(left):
        mixed.append(chance.choice([stream for stream in left if stream]).pop())
    return mixed


@given(NAMES, st.integers())
def test_handoffs_in_any_order_are_a_good_history(names: list[str], seed: int) -> None:
    mixed = interleaved(seed, *(handoff(name) for name in names))
    assert check(History.of([*members(), *mixed])) == ()


@given(FAULTS, NAMES, st.integers())
def test_a_fault_is_found_and_named_among_all_that_is_well(fault: str, names: list[str], seed: int) -> None:
    events, invariant, _ = BROKEN[fault]
    mixed = interleaved(seed, *(handoff(name) for name in names), events)
    found = check(History.of([*good("a"), *mixed]))
    assert {violation.invariant for violation in found} == {invariant}


@settings(deadline=None)
@given(FAULTS, NAMES, st.integers())
def test_the_smallest_history_shows_the_fault_and_nothing_of_it_can_go(
    fault: str, names: list[str], seed: int
) -> None:
    events, invariant, _ = BROKEN[fault]
    history = History.of([*good("a"), *interleaved(seed, *(handoff(name) for name in names), events)])
    [violation, *_] = check(history)

    left = smallest(history, violation)

    assert {found.invariant for found in check(left)} >= {invariant}
    assert len(left.events) <= len(violation.events)
    for at in range(len(left.events)):
        without = History.of([*left.events[:at], *left.events[at + 1 :]])
        assert invariant not in {found.invariant for found in check(without)}


@pytest.mark.parametrize("fault", BROKEN)
def test_what_a_violation_names_is_enough_to_show_it(fault: str) -> None:
    events, invariant, _ = BROKEN[fault]
    [violation] = check(History.of([*good("a"), *events]))
    alone = check(History.of(violation.events))
    assert invariant in {found.invariant for found in alone}
