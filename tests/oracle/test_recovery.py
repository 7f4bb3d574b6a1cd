from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from pdtest.client.errors import (
    BrokenStream,
    Call,
    HttpStatusError,
    MalformedAnswer,
    MemberGone,
    RequestFailed,
    RequestTimedOut,
    Unreachable,
)
from pdtest.client.handoff import Ending, Handoff, Hop, Route
from pdtest.client.prompts import Prompts
from pdtest.client.request import Request
from pdtest.environment.scenarios import Phase
from pdtest.environment.schema import Outcome, Phases, Thresholds
from pdtest.events import Recovered
from pdtest.events.record import Event
from pdtest.faults import Fault, Seen, Terminate
from pdtest.faults.phase import Missed, Reached
from pdtest.oracle.handoffs import Handoffs
from pdtest.oracle.oracle import Oracle
from pdtest.oracle.parity import Tolerance
from pdtest.oracle.recovery import Drill, Strike, _aimed, _Stalls, is_of_a_fault
from pdtest.oracle.verdict import Finding, Ruling
from pdtest.wire.registry import contract_for

from .fakes import BLOCK, ROLES, FakeEngine, FakeReference, Model, engines, environment_of, failed

CALL = Call(member="decode", method="POST", url="http://decode", timeout_s=1.0)


@pytest.mark.parametrize(
    ("error", "tells"),
    [
        (HttpStatusError(CALL, status=500, body=""), True),
        (HttpStatusError(CALL, status=503, body=""), True),
        (HttpStatusError(CALL, status=400, body=""), False),
        (HttpStatusError(CALL, status=404, body=""), False),
        (MemberGone(CALL, how="-9"), True),
        (Unreachable(CALL, reason="refused"), True),
        (BrokenStream(CALL, reason="cut", status=200, body=""), True),
        # An error with status 200, and a request that nobody ever answers.
        (MalformedAnswer(CALL, reason="an error with status 200", status=200, body=""), False),
        (RequestTimedOut(CALL), False),
    ],
)
def test_an_error_must_say_that_the_service_failed(error: RequestFailed, *, tells: bool) -> None:
    assert is_of_a_fault(error) is tells


def never(_: Fault) -> AbstractAsyncContextManager[Seen]:
    raise NotImplementedError


Make = Callable[..., tuple[Drill, list[Event]]]


@pytest.fixture
def make() -> Make:
    def make(decode: FakeEngine, recovery_s: float = 5.0) -> tuple[Drill, list[Event]]:
        environment = environment_of()
        environment = environment.model_copy(update={"thresholds": Thresholds(recovery_s=recovery_s)})
        told: list[Event] = []

        def renew() -> Handoffs:
            return Unhurried(
                environment=environment,
                contract=contract_for(("nixl",)),
                engines=engines(FakeEngine("prefill"), decode),
                roles=ROLES,
                proxy=None,
                block_bytes=None,
                witness=lambda _: None,
                on_event=told.append,
            )

        oracle = Oracle(reference=FakeReference(), tolerance=Tolerance(logprob=1e-4), block_size=BLOCK)
        drill = Drill(
            name="burst",
            environment=environment,
            renew=renew,
            oracle=oracle,
            inflict=never,
            prompts=Prompts(seed="x", vocab_size=4096),
            tell=told.append,
            test="t",
        )
        return drill, told

    return make


class Unhurried(Handoffs):
    """The fakes know no timeouts."""

    def with_timeout(self, timeout_s: float) -> Handoffs:  # noqa: ARG002
        return self

    def over(self, *_: str) -> Handoffs:
        return self


def found(drill: Drill) -> dict[str, Finding]:
    return {finding.check: finding for finding in drill.findings}


def failing(times: int) -> Callable[[Request], Exception | None]:
    left = [failed() for _ in range(times)]
    return lambda _: left.pop() if left else None


async def test_it_asks_until_there_is_a_right_answer_and_tells_how_long_that_took(make: Make) -> None:
    drill, told = make(FakeEngine("decode", fails=failing(2)))
    await drill.recover(time.perf_counter() - 1.0, route=Route.CLIENT)
    [recovered] = [event for event in told if isinstance(event, Recovered)]
    assert recovered.attempts == 3
    assert recovered.took_s > 1.0
    assert recovered.scenario == "burst, client"
    assert found(drill)["next request"].ruling is Ruling.PASS


async def test_a_wrong_answer_is_no_recovery(make: Make) -> None:
    drill, _ = make(FakeEngine("decode", model=Model(off={BLOCK + 5: 0.5})))
    await drill.recover(time.perf_counter(), route=Route.CLIENT)
    assert found(drill)["next request"].ruling is Ruling.FAIL
    assert "wrong" in found(drill)["next request"].text


async def test_who_does_not_come_back_in_time_fails(make: Make) -> None:
    drill, told = make(FakeEngine("decode", fails=lambda _: failed()), recovery_s=0.2)
    await drill.recover(time.perf_counter(), route=Route.CLIENT)
    assert found(drill)["recovery"].ruling is Ruling.FAIL
    assert found(drill)["next request"].ruling is Ruling.FAIL
    assert not [event for event in told if isinstance(event, Recovered)]


async def test_a_process_that_stood_still_is_not_blamed_on_the_service() -> None:
    stalls = _Stalls()
    with stalls.counted():
        await asyncio.sleep(0.05)
        before = stalls.seconds
        time.sleep(0.2)  # noqa: ASYNC251 - that is the point
        await asyncio.sleep(0)
    assert stalls.seconds - before > 0.15


async def test_each_request_has_a_prompt_of_its_own(make: Make) -> None:
    drill, _ = make(FakeEngine("decode"))
    one, two = drill.fresh(2), drill.fresh(2, stream=True)
    assert one.prompt != two.prompt
    assert one.prompt_tokens == two.prompt_tokens == 3 * BLOCK + 5
    assert replace(two, prompt=one.prompt, stream=False) == one


TOLD_AT = 100.0


def struck(fault: Terminate, error: RequestFailed, *, after_s: float) -> Strike:
    """A request that met with ``error`` so long after ``fault`` took effect."""
    hop = Hop(member="decode", sent=None, started_s=0.0, ended_s=1.0, error=error)
    return Strike(
        reached=Reached(phase=Phase.DECODE, prefill="prefill", decode="decode", not_before=TOLD_AT),
        seen=Seen(fault=fault, what="took SIGTERM", in_effect_at=TOLD_AT),
        handoff=Handoff(
            request=Request.tokens([1, 2, 3]),
            request_id="r",
            route=Route.CLIENT,
            contract="nixl",
            ending=Ending.DECODE_FAILED,
            decode=hop,
        ),
        ended_at=TOLD_AT + after_s,
        stalled_s=0.0,
        bystanders=(),
    )


def told_to_end(*, hung: str | None = None, ended_at: float | None = None) -> Terminate:
    placement = SimpleNamespace(member=SimpleNamespace(stop_timeout_s=20.0))
    cluster: Any = SimpleNamespace(members={"decode": SimpleNamespace(placement=placement)})
    fault = Terminate(cluster, "decode")
    fault.hung, fault.ended_at = hung, ended_at
    return fault


@pytest.mark.parametrize("allowed", [False, True])
async def test_who_has_to_be_killed_hangs(make: Make, *, allowed: bool) -> None:
    drill, _ = make(FakeEngine("decode"))
    if allowed:
        recovery = {"burst": (Outcome.ERROR, Outcome.HANG)}
        drill.environment = drill.environment.model_copy(update={"recovery": recovery})
    strike = struck(told_to_end(hung="there after 20 s"), RequestTimedOut(CALL), after_s=40.0)
    await drill._judge(strike)
    failed = {finding.text for finding in drill.findings if finding.ruling is Ruling.FAIL}
    assert len(failed) == (0 if allowed else 3)  # the request's outcome, its error, the shutdown
    assert any("decode was there after 20 s" in finding.text for finding in drill.findings)


async def test_who_ended_in_good_order_is_given_the_time_that_it_took(make: Make) -> None:
    drill, _ = make(FakeEngine("decode"))
    gone = MemberGone(CALL, how="0")
    await drill._judge(struck(told_to_end(ended_at=TOLD_AT + 3.0), gone, after_s=3.5))
    assert {finding.ruling for finding in drill.findings} == {Ruling.PASS}
    assert "did within 20 s" in found(drill)["end"].text
    drill.findings.clear()
    await drill._judge(struck(told_to_end(ended_at=TOLD_AT + 3.0), gone, after_s=4.5))
    assert found(drill)["time of error"].ruling is Ruling.FAIL


async def test_an_aim_that_missed_is_followed_by_one_at_a_service_that_answers(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    down: list[RequestFailed] = []
    drill, _ = make(FakeEngine("decode", fails=lambda _: down.pop() if down else None))
    drill.environment = drill.environment.model_copy(update={"phases": Phases(decode=5.0)})
    struck_at: list[float] = []

    async def reached(*_: object, **__: object) -> Reached:
        not_before = time.perf_counter() if struck_at else 0.0  # the first time it is too late
        return Reached(phase=Phase.DECODE, prefill="prefill", decode="decode", not_before=not_before)

    @asynccontextmanager
    async def inflict(fault: Fault) -> AsyncIterator[Seen]:
        struck_at.append(time.perf_counter())
        yield Seen(fault=fault, what="down", in_effect_at=struck_at[-1])
        down.extend(failed() for _ in range(3))

    monkeypatch.setattr("pdtest.oracle.recovery.reach", reached)
    drill.inflict = inflict
    fault = told_to_end()
    strike = await _aimed(
        lambda: drill._strike(Phase.DECODE, lambda _: fault, route=Route.CLIENT, over=(), hold_s=5.0)
    )
    assert len(struck_at) == 2
    assert strike.handoff.answer is not None


@pytest.mark.parametrize("aiming_s", [0.0, 0.3])
async def test_a_phase_is_aimed_at_a_number_of_times_and_for_a_while(
    monkeypatch: pytest.MonkeyPatch, aiming_s: float
) -> None:
    monkeypatch.setattr("pdtest.oracle.recovery._AIMING_S", aiming_s)
    times: list[float] = []

    async def attempt() -> None:
        times.append(time.perf_counter())
        await asyncio.sleep(0.01)
        raise Missed("too late")

    began = time.perf_counter()
    with pytest.raises(Missed):
        await _aimed(attempt)
    assert len(times) == 6 if not aiming_s else times[-1] - began >= aiming_s
