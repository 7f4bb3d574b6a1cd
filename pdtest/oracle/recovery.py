"""A drill: something breaks under a request, others go on beside it, it is mended, and all is well again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pdtest.client.errors import (
    BrokenStream,
    HttpStatusError,
    MemberGone,
    RequestFailed,
    RequestTimedOut,
    Unreachable,
)
from pdtest.client.handoff import Handoff, Route
from pdtest.client.prompts import Prompts
from pdtest.client.request import Request
from pdtest.environment.scenarios import Phase
from pdtest.environment.schema import Environment, Outcome, Role
from pdtest.events.fault import Recovered
from pdtest.events.record import Event
from pdtest.faults.fault import Fault, Seen
from pdtest.faults.phase import Missed, Reached, reach
from pdtest.faults.process import Terminate
from pdtest.oracle.handoffs import Handoffs
from pdtest.oracle.oracle import Oracle
from pdtest.oracle.outcome import HEALTHY, Ended, ended, permitted
from pdtest.oracle.quiet import seek_quiet
from pdtest.oracle.verdict import Finding, Ruling

T = TypeVar("T")

#: Arms, verifies, lifts; the `inflict` fixture.
Inflict = Callable[[Fault], AbstractAsyncContextManager[Seen]]


#: Chooses what breaks, once it is known who works on the request.
Choose = Callable[[Reached], Fault]

#: A death is known at once: who waits for the dead must not wait on.
DEATH_S = 1.0
_INTERNAL_ERROR = 500
_PAUSE_S = 0.05
_TICK_S = 0.02
#: How often a phase is aimed at, and for how many seconds, whatever takes longer: a machine that has other
#: work may look at it too late.
_AIMS = 6
_AIMING_S = 20.0


@dataclass(frozen=True, kw_only=True)
class Strike:
    """What became of a request under which something broke. Times are `time.perf_counter`'s."""

    reached: Reached
    seen: Seen
    handoff: Handoff
    ended_at: float
    #: Of the time since then this process did nothing for so many seconds: the machine had other work.
    stalled_s: float
    bystanders: tuple[Handoff, ...]


@dataclass(kw_only=True)
class Drill:
    """Runs one scenario and says what was found.

    ``renew`` makes clients anew, which a member that was started again needs. ``tell`` hears events.
    """

    name: str
    environment: Environment
    renew: Callable[[], Handoffs]
    oracle: Oracle
    inflict: Inflict
    prompts: Prompts
    tell: Callable[[Event], None]
    test: str
    findings: list[Finding] = field(default_factory=list)

    def fresh(self, max_tokens: int, *, blocks: int = 3, stream: bool = False) -> Request:
        """A request with a prompt of its own, of so many blocks and a bit."""
        ids = self.prompts.tokens(blocks * self.environment.model.block_size + 5)
        return Request.tokens(ids, max_tokens=max_tokens, ignore_eos=True, stream=stream)

    async def run(
        self, phase: Phase, choose: Choose, *, route: Route, over: tuple[str, ...], hold_s: float
    ) -> None:
        """Break what ``choose`` says while a request over ``over`` is in ``phase``, mend it, look at it all.

        It is mended when that request has ended, and at the latest after ``hold_s`` seconds: what is frozen
        or cut may be what the request waits for. Raises Unverified, and Missed when no aim was good enough.
        """
        strike = await _aimed(lambda: self._strike(phase, choose, route=route, over=over, hold_s=hold_s))
        await self._judge(strike)
        await self.come_to_rest()
        await self.prove(route=route, over=over)

    async def abandon(self, phase: Phase, handoffs: Handoffs, route: Route) -> float:
        """A client leaves while its request is in ``phase``: when, by `time.perf_counter`.

        Raises as `run`.
        """
        return await _aimed(lambda: self._leave(phase, handoffs, route))

    async def recover(self, since: float, *, route: Route, over: tuple[str, ...] | None = None) -> None:
        """Ask until an answer comes.

        ``since`` is when mending began, by `time.perf_counter`. ``over``: engines that must take part, by the
        client's route. Whatever is answered must be right.
        """
        thresholds, attempts = self.environment.thresholds, 0
        while True:
            attempts += 1
            handoffs = self.renew().with_timeout(thresholds.recovery_s)
            chosen = handoffs.over(*over) if over and route is Route.CLIENT else handoffs
            handoff = await chosen.send(self.fresh(2, blocks=1), route)
            took_s = time.perf_counter() - since
            if handoff.answer is not None or took_s > thresholds.recovery_s:
                break
            await asyncio.sleep(_PAUSE_S)
        await self.require_right("next request", handoff)
        if handoff.answer is not None:
            self.tell(
                Recovered(scenario=f"{self.name}, {route}", test=self.test, took_s=took_s, attempts=attempts)
            )
        text = f"{took_s:.2f} s, at attempt {attempts} (thresholds: recovery_s {thresholds.recovery_s:g})"
        self._note("recovery", text, is_well=took_s <= thresholds.recovery_s)

    async def require_right(self, check: str, handoff: Handoff) -> None:
        """The handoff ended with the reference's answer."""
        outcome = await ended(handoff, self.oracle)
        text = f"{handoff.request_id}: {outcome.outcome}, {outcome.because}"
        self._note(check, text, is_well=outcome.outcome is Outcome.RIGHT)

    async def prove(self, *, route: Route, over: tuple[str, ...]) -> None:
        """KV moves again: an engine that lost its peer or store may compute everything, and say nothing.

        Only when all are at rest, since counters tell of all that happens.
        """
        handoffs = self.renew()
        chosen = handoffs if route is Route.PROXY else handoffs.over(*over)
        volley = await chosen(self.fresh(2, blocks=1), route=route)
        verdict = await self.oracle.judge(volley, f"{self.name}: KV moves as before")
        self.findings += verdict.findings

    async def come_to_rest(self) -> None:
        """No engine has work or blocks left, leases included."""
        thresholds = self.environment.thresholds
        within_s = thresholds.release_s + (thresholds.lease_s or 0.0)
        quiet = await seek_quiet(self.renew().engines, within_s, on_event=self.tell, test=self.test)
        self.findings += quiet.findings()

    async def _strike(
        self, phase: Phase, choose: Choose, *, route: Route, over: tuple[str, ...], hold_s: float
    ) -> Strike:
        """Once. Raises Unverified, and Missed when it cannot be said that it fell into the phase."""
        thresholds = self.environment.thresholds
        handoffs = self.renew().with_timeout(thresholds.hang_s)
        victims = handoffs if route is Route.PROXY else handoffs.over(*over)
        victim = asyncio.create_task(_timed(victims.send(self.fresh(16, stream=route is Route.PROXY), route)))
        beside: list[asyncio.Task[Handoff]] = []
        stalls = _Stalls()
        try:
            reached = await reach(
                phase, victim, victims.engines, handoffs.roles, within_s=thresholds.request_timeout_s
            )
            fault = choose(reached)
            beside += self._beside(handoffs, fault.members)
            missed: Missed | None = None
            with stalls.counted():
                async with self.inflict(fault) as seen:
                    try:
                        reached.require_still(self.environment.phases, seen.in_effect_at, ended=victim.done())
                    except Missed as error:
                        missed = error
                    else:
                        beside += self._beside(handoffs, fault.members)
                        await asyncio.wait({victim}, timeout=hold_s)
                    mending_at = time.perf_counter()
            await self.recover(mending_at, route=route, over=over)
            if missed is not None:  # and the next aim finds a service that answers
                raise missed
            handoff, ended_at = await victim
            bystanders = tuple(await asyncio.gather(*beside))
        finally:
            await _dismiss(victim, *beside)
        return Strike(
            reached=reached,
            seen=seen,
            handoff=handoff,
            ended_at=ended_at,
            stalled_s=stalls.seconds,
            bystanders=bystanders,
        )

    async def _leave(self, phase: Phase, handoffs: Handoffs, route: Route) -> float:
        leaving = asyncio.create_task(handoffs.send(self.fresh(16, stream=True), route))
        try:
            within_s = self.environment.thresholds.request_timeout_s
            reached = await reach(phase, leaving, handoffs.engines, handoffs.roles, within_s=within_s)
            since = time.perf_counter()
            reached.require_still(self.environment.phases, since, ended=leaving.done())
        finally:
            await _dismiss(leaving)
        self._note("phase", f"left at most {since - reached.not_before:.3f} s after {phase} began")
        return since

    async def _judge(self, strike: Strike) -> None:
        """The outcome is one that is allowed, in time and of a kind that tells; bystanders are unharmed."""
        passed_s = strike.seen.in_effect_at - strike.reached.not_before
        self._note("phase", f"in effect at most {passed_s:.3f} s after {strike.reached.phase} began")
        allowed = frozenset(self.environment.recovery.get(self.name, HEALTHY))
        outcome = await ended(strike.handoff, self.oracle)
        self.findings.append(permitted(self.name, outcome, allowed))
        fault = strike.seen.fault
        broken_at = strike.seen.in_effect_at
        if isinstance(fault, Terminate):
            broken_at = fault.ended_at or broken_at
            self._judge_end(fault, allowed)
        is_hang = isinstance(strike.handoff.error, RequestTimedOut)
        if strike.handoff.error is not None and not (is_hang and Outcome.HANG in allowed):
            self._judge_error(strike.handoff.error, strike.ended_at - broken_at - strike.stalled_s)
        for bystander in strike.bystanders:
            await self.require_right("bystander", bystander)

    def _judge_end(self, fault: Terminate, allowed: frozenset[Outcome]) -> None:
        """Who is told to end does. One that has to be killed hangs, whatever became of its request."""
        if fault.hung is not None:
            seen = Ended(outcome=Outcome.HANG, because=f"{fault.target} was {fault.hung}")
            self.findings.append(permitted(self.name, seen, allowed))
        else:
            self._note("end", f"{fault.target} was told to end, and did within {fault.within_s:g} s")

    def _judge_error(self, error: RequestFailed, late_s: float) -> None:
        """It says that the service failed, and who waits for the dead does not wait for long."""
        said = f"{type(error).__name__}{f' {error.status}' if error.status else ''}"
        self._note(
            "kind of error",
            f"expected a status of 500 or more, or a connection that ends; seen {said}",
            is_well=is_of_a_fault(error),
        )
        if isinstance(error, MemberGone):
            self._note(
                "time of error",
                f"{error.member} died, and its request ended {late_s:.2f} s later ({DEATH_S:g} s allowed)",
                is_well=late_s <= DEATH_S,
            )

    def _note(self, check: str, text: str, *, is_well: bool = True) -> None:
        ruling = Ruling.PASS if is_well else Ruling.FAIL
        self.findings.append(Finding(check=check, ruling=ruling, text=text))

    def _beside(self, handoffs: Handoffs, broken: frozenset[str]) -> list[asyncio.Task[Handoff]]:
        """A request over engines that do not break, if there are enough of them."""
        if handoffs.contract.obstacle is not None:
            return []
        hale = {name: role for name, role in handoffs.roles.items() if name not in broken}
        pair = [next((n for n, role in hale.items() if role is wanted), None) for wanted in _SIDES]
        names = [name for name in pair if name is not None]
        if len(names) < len(_SIDES):
            return []
        return [asyncio.create_task(handoffs.over(*names).send(self.fresh(4), Route.CLIENT))]


_SIDES = (Role.PREFILL, Role.DECODE)


def is_of_a_fault(error: RequestFailed) -> bool:
    """It says that the service failed, and neither blames the request nor pretends that it was answered."""
    if isinstance(error, HttpStatusError):
        return (error.status or 0) >= _INTERNAL_ERROR
    return isinstance(error, (MemberGone, Unreachable, BrokenStream))


async def _aimed(attempt: Callable[[], Awaitable[T]]) -> T:
    """What the first attempt gives that did not miss. Raises Missed when all did."""
    began, aims = time.perf_counter(), 1
    while aims < _AIMS or time.perf_counter() - began < _AIMING_S:
        aims += 1
        with suppress(Missed):
            return await attempt()
    return await attempt()


class _Stalls:
    """Notes for how long the event loop had no turn: what happened then cannot be told apart in time."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._woken = time.perf_counter()

    @contextmanager
    def counted(self) -> Iterator[None]:
        """While it lasts, which must be in a running loop."""
        self._woken = time.perf_counter()
        ticker = asyncio.create_task(self._tick())
        try:
            yield
        finally:
            ticker.cancel()
            self._note()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            self._note()

    def _note(self) -> None:
        now = time.perf_counter()
        self.seconds += max(now - self._woken - _TICK_S, 0.0)
        self._woken = now


async def _timed(work: Coroutine[Any, Any, Handoff]) -> tuple[Handoff, float]:
    handoff = await work
    return handoff, time.perf_counter()


async def _dismiss(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError, Exception):
            await task
