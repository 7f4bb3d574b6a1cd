"""The proxy's parts, put together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from pdtest.embedded.connections import Connections
from pdtest.embedded.proxy.contracts.contract import Contract, Order
from pdtest.embedded.proxy.contracts.registry import Surroundings, contract_for
from pdtest.embedded.proxy.dispatch import Dispatcher
from pdtest.embedded.proxy.flows.decode_first import decode_first
from pdtest.embedded.proxy.flows.prefill_first import prefill_first
from pdtest.embedded.proxy.flows.together import together
from pdtest.embedded.proxy.handoff import Handoff
from pdtest.embedded.proxy.health import HealthWatch
from pdtest.embedded.proxy.instances import Pool
from pdtest.embedded.proxy.legs import Decoding, Legs
from pdtest.embedded.proxy.lengths import PromptLengths
from pdtest.embedded.proxy.metaserver import Metaserver
from pdtest.embedded.proxy.metrics import Requests
from pdtest.embedded.proxy.policies import POLICIES
from pdtest.embedded.proxy.request import ClientRequest
from pdtest.embedded.proxy.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """One running proxy. `opened` makes it."""

    settings: Settings
    connections: Connections
    pool: Pool
    contract: Contract
    dispatcher: Dispatcher
    legs: Legs
    lengths: PromptLengths
    metaserver: Metaserver
    requests: Requests

    async def lead(self, request: ClientRequest) -> Decoding:
        """Through both legs, until decode's answer begins. Raises Failure."""
        request.prompt_tokens = self.lengths.estimate(request.body)
        handoff = Handoff(request, self.contract, self.dispatcher, self.legs)
        match self.contract.order:
            case Order.PREFILL_FIRST:
                return await prefill_first(handoff)
            case Order.TOGETHER:
                return await together(handoff)
            case Order.DECODE_FIRST:
                return await decode_first(handoff, self.metaserver)


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
        dispatcher = Dispatcher(pool, POLICIES[settings.policy]())
        lengths = PromptLengths()
        around = Surroundings(connections=connections, metaserver=settings.metaserver)
        yield Proxy(
            settings=settings,
            connections=connections,
            pool=pool,
            contract=contract_for(settings.contract, around),
            dispatcher=dispatcher,
            legs=Legs(connections, dispatcher, lengths),
            lengths=lengths,
            metaserver=Metaserver(),
            requests=Requests(),
        )
