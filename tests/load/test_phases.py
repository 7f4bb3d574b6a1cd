from __future__ import annotations

from dataclasses import replace

import pytest

from pdtest.client.answer import Answer, Choice, Timings, Usage
from pdtest.client.handoff import Ending, Handoff, Hop, Route
from pdtest.client.request import Request
from pdtest.load.phases import Phases, Times


def answer() -> Answer:
    return Answer(
        member="decode",
        request_id="r",
        status=200,
        model="m",
        choices=(Choice(index=0, text="", finish_reason="length"),),
        usage=Usage(prompt_tokens=3, completion_tokens=1),
        timings=Timings(sent_at=0.0, first_byte_s=0.0, total_s=0.0),
    )


def handoff(prefill_s: float, between_s: float, decode_s: float) -> Handoff:
    then_s = prefill_s + between_s
    return Handoff(
        request=Request.tokens((1, 2, 3)),
        request_id="r",
        route=Route.CLIENT,
        contract="nixl",
        ending=Ending.ANSWERED,
        prefill=Hop(member="prefill", sent=None, started_s=0.0, ended_s=prefill_s, answer=answer()),
        decode=Hop(member="decode", sent=None, started_s=then_s, ended_s=then_s + decode_s, answer=answer()),
    )


def test_phases_are_timed_apart_and_their_shares_are_of_the_mean_total() -> None:
    phases = Phases.of([handoff(0.1, 0.0, 0.7), handoff(0.3, 0.2, 0.7)])
    assert phases.total is not None
    assert phases.prefill is not None
    assert phases.decode is not None
    assert phases.between is not None
    assert phases.total.mean == pytest.approx(1.0)
    assert phases.prefill.mean == pytest.approx(0.2)
    assert phases.decode.mean == pytest.approx(0.7)
    shares = [phases.share(phase) for phase in (phases.prefill, phases.decode, phases.between)]
    assert shares == [pytest.approx(0.2), pytest.approx(0.7), pytest.approx(0.1)]


def test_what_was_not_answered_does_not_count() -> None:
    failed = replace(handoff(9.0, 0.0, 9.0), ending=Ending.DECODE_FAILED)
    assert Phases.of([failed, handoff(0.1, 0.0, 0.1)]).total == Times.of([0.2])
    nothing = Phases.of([failed])
    assert nothing.total is None
    assert nothing.share(nothing.prefill) is None


def test_percentiles_are_values_that_were_seen() -> None:
    times = Times.of([float(number) for number in range(100, 0, -1)])
    assert times == Times(mean=50.5, p50=50.0, p90=90.0, p99=99.0, most=100.0)
    assert Times.of([2.0]) == Times(mean=2.0, p50=2.0, p90=2.0, p99=2.0, most=2.0)
