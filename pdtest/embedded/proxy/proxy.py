"""The proxy's parts, put together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from pdtest.embedded.connections import Connections
from pdtest.embedded.proxy.contracts.contract import Contract, Order
from pdtest.embedded.proxy.contracts.registry import Surroundings, contract_for
from pdtest.embedded.proxy.counts import Decisions, Requests
from pdtest.embedded.proxy.dispatch import Dispatcher
from pdtest.embedded.proxy.flows.alone import alone
from pdtest.embedded.proxy.flows.decode_first import decode_first
from pdtest.embedded.proxy.flows.prefill_first import prefill_first
from pdtest.embedded.proxy.flows.together import together
from pdtest.embedded.proxy.handoff import Handoff
from pdtest.embedded.proxy.health import HealthWatch
from pdtest.embedded.proxy.instances import Pool, Side
from pdtest.embedded.proxy.legs import Decoding, LegFailed, Legs
from pdtest.embedded.proxy.lengths import PromptLengths
from pdtest.embedded.proxy.metaserver import Metaserver
from pdtest.embedded.proxy.policies.registry import POLICIES
from pdtest.embedded.proxy.request import ClientRequest
from pdtest.embedded.proxy.routing.answers import RecentAnswers
from pdtest.embedded.proxy.routing.faults import KINDS
from pdtest.embedded.proxy.routing.faulty import FaultyDispatcher, FaultyPhase, FaultySessions
from pdtest.embedded.proxy.routing.path import Path
from pdtest.embedded.proxy.routing.phase import ByLengths, Phase
from pdtest.embedded.proxy.routing.phases import phase_for
from pdtest.embedded.proxy.routing.pressure import Pressure
from pdtest.embedded.proxy.routing.pulse import Pulse
from pdtest.embedded.proxy.routing.router import Router
from pdtest.embedded.proxy.routing.sessions import Sessions
from pdtest.embedded.proxy.routing.settings import RoutingSettings
from pdtest.embedded.proxy.routing.wanted import Wanted
from pdtest.embedded.proxy.settings import Settings
from pdtest.embedded.proxy.usage import Reading
from pdtest.embedded.switch import WordSwitch


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """One running proxy. `opened` makes it."""

    settings: Settings
    connections: Connections
    pool: Pool
    contract: Contract
    router: Router
    dispatcher: Dispatcher
    legs: Legs
    lengths: PromptLengths
    metaserver: Metaserver
    requests: Requests
    decisions: Decisions
    answers: RecentAnswers
    pulse: Pulse

    async def lead(self, request: ClientRequest) -> Decoding:
        """The way that is decided for it, until the answer begins. Raises Failure."""
        request.prompt_tokens = self.lengths.estimate(request.body)
        handoff = Handoff(request, self.contract, self.router, self.dispatcher, self.legs)
        try:
            decoding = await self._led(handoff)
        finally:
            self.decisions.tell(handoff.path, handoff.deciding_s)
        decoding.path = handoff.path
        decoding.on_answer = lambda reading: self._answered(request, decoding, reading)
        return decoding

    def _answered(self, request: ClientRequest, decoding: Decoding, reading: Reading) -> None:
        if (tokens := reading.tokens()) is not None:
            self.answers.add(tokens / request.choices)
        if decoding.path is not Path.PREFILL and (usage := reading.usage()) is not None:
            decoding.decode.computed(usage)

    async def _led(self, handoff: Handoff) -> Decoding:
        while handoff.path is not Path.PREFILL:
            try:
                return await alone(handoff, *handoff.path.sides)
            except LegFailed as failed:
                handoff.go_around(failed)
                handoff.decide()
        return await self._handed_over(handoff)

    async def _handed_over(self, handoff: Handoff) -> Decoding:
        match self.contract.order:
            case Order.PREFILL_FIRST:
                return await prefill_first(handoff)
            case Order.TOGETHER:
                return await together(handoff)
            case Order.DECODE_FIRST:
                return await decode_first(handoff, self.metaserver)


def _routing(settings: RoutingSettings, pool: Pool, phase: Phase) -> tuple[Dispatcher, Router]:
    """Who says which instance and which way, with a switch for planted bugs where that is wanted."""
    policies = {side: POLICIES[settings.policy_of(side)]() for side in Side}
    idle_s = settings.session_idle_s if settings.session_header else None
    if not settings.fault:
        return Dispatcher(pool, policies, Sessions(idle_s)), Router(pool, phase)
    fault = WordSwitch(settings.fault, KINDS)
    dispatcher = FaultyDispatcher(pool, policies, FaultySessions(idle_s, fault), fault)
    return dispatcher, Router(pool, FaultyPhase(phase, fault) if isinstance(phase, ByLengths) else phase)


def _pulse(settings: RoutingSettings, pool: Pool, pressure: Pressure) -> Pulse:
    bounds = {side: settings.bounds_of(side) for side in Side}
    wanted = {side: Wanted(one) for side, one in bounds.items() if one is not None}
    return Pulse(pool, pressure, wanted, window_s=settings.busy_window_s, overload=settings.overload)


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Proxy]:
    """A proxy, until the block ends. Raises OSError when the registration's port is taken."""
    async with AsyncExitStack() as stack:
        connections = Connections()
        stack.callback(connections.close)
        pool = Pool()
        stack.push_async_callback(HealthWatch(pool, connections).close)
        for instance in settings.instances():
            pool.add(instance)
        if settings.zmq_port is not None:
            # Here, since only one contract needs it: ZMQ takes a tenth of a second to import.
            from pdtest.embedded.proxy.registration import Registration

            registration = Registration(pool)
            stack.push_async_callback(registration.close)
            registration.start(settings.host, settings.zmq_port)
        pressure, answers = Pressure(), RecentAnswers(settings.routing.recall_s)
        pulse = _pulse(settings.routing, pool, pressure)
        stack.push_async_callback(pulse.close)
        pulse.start()
        dispatcher, router = _routing(settings.routing, pool, phase_for(settings.routing, pressure, answers))
        lengths = PromptLengths()
        around = Surroundings(connections=connections, metaserver=settings.metaserver)
        yield Proxy(
            settings=settings,
            connections=connections,
            pool=pool,
            contract=contract_for(settings.contract, around),
            router=router,
            dispatcher=dispatcher,
            legs=Legs(connections, dispatcher, lengths),
            lengths=lengths,
            metaserver=Metaserver(),
            requests=Requests(),
            decisions=Decisions(),
            answers=answers,
            pulse=pulse,
        )
