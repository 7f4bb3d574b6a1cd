from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from pdtest.client.handoff import Route
from pdtest.client.request import Request
from pdtest.oracle.gallery import Gallery
from pdtest.oracle.handoffs import Handoffs
from pdtest.oracle.oracle import Oracle
from pdtest.oracle.parity import Tolerance
from pdtest.oracle.verdict import Ruling, Verdict
from pdtest.oracle.volley import Volley

from .fakes import BLOCK, BLOCK_BYTES, FakeReference, Model, claim_of, decode_window, handoff_of, moved

ONE, TWO, AGAIN = (Request.tokens(range(start, start + 6), max_tokens=4) for start in (10, 20, 30))


@dataclass
class Shooting:
    """Stands in for `Handoffs`: every volley's counters are off by so many tokens."""

    off: list[int] = field(default_factory=list)
    fail: tuple[Request, ...] = ()
    wrong: tuple[Request, ...] = ()
    fired: list[tuple[tuple[Request, ...], Route]] = field(default_factory=list)

    async def __call__(self, *requests: Request, route: Route) -> Volley:
        self.fired.append((requests, route))
        off = self.off.pop(0) if self.off else 0
        answers = [
            None if one in self.fail else Model().answer(one, second=[1] if one in self.wrong else [])
            for one in requests
        ]
        counts = {"moved": 6 * len(requests) + off, "cached": 0, "computed": 0}
        window = decode_window({**counts, "bytes": 2 * BLOCK_BYTES * len(requests)})
        handoffs = tuple(handoff_of(one, answer) for one, answer in zip(requests, answers, strict=True))
        claim = claim_of(*(moved(6) for answer in answers if answer))
        return Volley(handoffs=handoffs, window=window, claim=claim)


def fires(shooting: Shooting) -> Handoffs:
    return cast("Handoffs", shooting)


async def judged(volley: Volley) -> Verdict:
    oracle = Oracle(reference=FakeReference(), tolerance=Tolerance(logprob=1e-4), block_size=BLOCK)
    return await oracle.judge(volley, "KV moved")


@pytest.fixture
def gallery() -> Gallery:
    return Gallery.of([ONE, TWO], Route.PROXY)


async def test_all_are_fired_once_by_whoever_comes_first(gallery: Gallery) -> None:
    shooting = Shooting()
    for request in (ONE, TWO, ONE):
        volley = await gallery.one(request, AGAIN, fires(shooting))
        assert volley.handoff.request == request
    assert shooting.fired == [((ONE, TWO), Route.PROXY)]


async def test_equal_requests_are_fired_once() -> None:
    assert Gallery.of([ONE, TWO, ONE], Route.CLIENT).requests == (ONE, TWO)


async def test_each_is_judged_by_its_own_answer(gallery: Gallery) -> None:
    shooting = Shooting(wrong=(TWO,))
    assert (await judged(await gallery.one(ONE, AGAIN, fires(shooting)))).ruling is Ruling.PASS
    assert (await judged(await gallery.one(TWO, AGAIN, fires(shooting)))).ruling is Ruling.FAIL


async def test_totals_that_are_off_fire_it_again_alone(gallery: Gallery) -> None:
    shooting = Shooting(off=[3])
    volley = await gallery.one(ONE, AGAIN, fires(shooting))
    assert shooting.fired == [((ONE, TWO), Route.PROXY), ((AGAIN,), Route.PROXY)]
    assert [handoff.request for handoff in volley.handoffs] == [ONE, AGAIN]
    assert (await judged(volley)).ruling is Ruling.PASS


async def test_one_that_moves_too_much_alone_as_well_fails(gallery: Gallery) -> None:
    volley = await gallery.one(ONE, AGAIN, fires(Shooting(off=[3, 3])))
    assert (await judged(volley)).ruling is Ruling.FAIL


@pytest.mark.parametrize("off", [[], [3]])
async def test_a_handoff_that_failed_stays_failed(gallery: Gallery, off: list[int]) -> None:
    shooting = Shooting(off=off, fail=(ONE,))
    verdict = await judged(await gallery.one(ONE, AGAIN, fires(shooting)))
    assert verdict.ruling is Ruling.FAIL
    assert len(shooting.fired) == 1


async def test_a_wrong_answer_stays_wrong_although_right_alone(gallery: Gallery) -> None:
    shooting = Shooting(off=[3], wrong=(ONE,))
    verdict = await judged(await gallery.one(ONE, AGAIN, fires(shooting)))
    assert [finding.check for finding in verdict.decisive] == ["parity"]


async def test_firing_that_failed_is_tried_again(gallery: Gallery) -> None:
    class Broken(Shooting):
        async def __call__(self, *requests: Request, route: Route) -> Any:
            if not self.fired:
                self.fired.append((requests, route))
                raise OSError("no connection")
            return await super().__call__(*requests, route=route)

    shooting = Broken()
    with pytest.raises(OSError, match="no connection"):
        await gallery.one(ONE, AGAIN, fires(shooting))
    assert (await gallery.one(ONE, AGAIN, fires(shooting))).handoff.request == ONE


async def test_the_reference_is_asked_about_all_at_once_and_what_fails_is_left_to_the_tests(
    gallery: Gallery,
) -> None:
    asked: list[Request] = []

    class Reference:
        async def answer(self, request: Request) -> Any:
            asked.append(request)
            raise RuntimeError("busy")

    for request in (ONE, TWO):
        await gallery.one(request, AGAIN, fires(Shooting()), Reference())
    assert asked == [ONE, TWO]
