from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdtest.environment.routing import ByPhase, Routing
from pdtest.environment.schema import Role
from pdtest.oracle.routing.expected import expected
from pdtest.oracle.routing.lanes import Lane, Lanes
from pdtest.routing.served import Path

THRESHOLD = ByPhase(policy="threshold", input_threshold=128, ratio=4.0)
ADAPTIVE = ByPhase(policy="adaptive", input_threshold=128, ratio=4.0, flex=2.0)
#: The presets of docs/routing.md.
PRESETS = (
    ByPhase(policy="threshold", input_threshold=2000, ratio=10),
    ByPhase(policy="adaptive", input_threshold=200, ratio=1),
    ByPhase(policy="adaptive", input_threshold=500, ratio=0.5),
    ByPhase(policy="adaptive", input_threshold=800, ratio=4),
)


def lanes(phase: ByPhase | None, *, hybrids: bool = True, room: int = 4096) -> Lanes:
    return Lanes(settings=Routing(phase=phase), hybrids=hybrids, room=room, block_size=16)


def ways(phase: ByPhase | None, lane: Lane, *, hybrids: bool = True) -> frozenset[Path]:
    return expected(phase, lane.lengths, hybrids=hybrids)


@pytest.mark.parametrize("phase", [THRESHOLD, *PRESETS], ids=str)
@pytest.mark.parametrize("hybrids", [True, False])
@pytest.mark.parametrize("way", list(Path), ids=str)
def test_lengths_for_a_way_take_no_other(phase: ByPhase, hybrids: bool, way: Path) -> None:
    lane = lanes(phase, hybrids=hybrids).way(way)
    if lane is not None:
        assert ways(phase, lane, hybrids=hybrids) == {way}


@pytest.mark.parametrize("phase", [THRESHOLD, *PRESETS], ids=str)
def test_everywhere_some_request_is_surely_handed_over(phase: ByPhase) -> None:
    assert lanes(phase).serving(Role.PREFILL) is not None


def test_lengths_alone_reach_every_way() -> None:
    assert all(lanes(THRESHOLD).way(way) for way in Path)
    assert lanes(THRESHOLD, hybrids=False).way(Path.HYBRID) is None
    assert lanes(None).serving(Role.DECODE) == Lane(prompt=64, answer=2)


def test_hybrids_get_two_kinds() -> None:
    both = lanes(THRESHOLD).every(Path.HYBRID)
    assert sorted(lane.prompt >= 128 for lane in both) == [False, True]


def test_around_the_limits() -> None:
    at = lanes(THRESHOLD).around_the_threshold(THRESHOLD)
    assert [lane.prompt for lane in at] == [127, 128, 129] * 2
    taken = [next(iter(ways(THRESHOLD, lane))) for lane in at]
    one_sided = [Path.HYBRID, Path.PREFILL, Path.PREFILL]
    assert taken == [*one_sided, Path.DECODE, Path.HYBRID, Path.HYBRID]
    at = lanes(THRESHOLD).around_the_ratio(THRESHOLD)
    assert [lane.prompt for lane in at] == [63, 64, 65, 131, 132, 133]
    taken = [next(iter(ways(THRESHOLD, lane))) for lane in at]
    assert taken == [Path.DECODE, Path.HYBRID, Path.HYBRID, Path.HYBRID, Path.PREFILL, Path.PREFILL]


@pytest.mark.parametrize("phase", PRESETS, ids=str)
def test_what_does_not_fit_is_left_out(phase: ByPhase) -> None:
    few = lanes(phase, room=300)
    drawn = few.drawn(phase, 50, random.Random("drawn"))  # noqa: S311 - reproducible on purpose
    for lane in (*few.around_the_threshold(phase), *few.around_the_ratio(phase), *drawn):
        assert lane.prompt + lane.answer <= 300
        assert min(lane.prompt, lane.answer) > 0


@settings(deadline=None)
@given(prompt=st.integers(1, 2000), answer=st.integers(1, 1000))
def test_occupants_are_at_a_decode_instance_and_no_hybrid_one(prompt: int, answer: int) -> None:
    for phase in (THRESHOLD, ADAPTIVE):
        lane = lanes(phase).occupying(prompt=prompt, answer=answer)
        if lane is not None:
            assert Path.HYBRID not in ways(phase, lane)


def test_an_occupant_is_what_was_asked_for_where_that_is_possible() -> None:
    assert lanes(None).occupying(prompt=8, answer=400) == Lane(prompt=8, answer=400)
    assert lanes(THRESHOLD).occupying(prompt=8, answer=400) == Lane(prompt=8, answer=400)
    assert lanes(THRESHOLD).occupying(prompt=1536, answer=400) == Lane(prompt=1536, answer=384)
    assert lanes(ADAPTIVE).occupying(prompt=8, answer=400) == Lane(prompt=3, answer=400)
    assert lanes(THRESHOLD, room=100).occupying(prompt=8, answer=400) is None


def test_texts_are_long_or_short_for_everybody() -> None:
    (long, _), (short, _) = lanes(THRESHOLD).texts(THRESHOLD)
    assert long / 5 >= 128
    assert short < 128
