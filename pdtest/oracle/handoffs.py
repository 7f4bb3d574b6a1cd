"""Sends handoffs through a running environment and collects the evidence."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pdtest.client.endpoint import Endpoint
from pdtest.client.handoff import Handoff, HandoffRunner, Route, TamperWith, first_route
from pdtest.client.request import Request
from pdtest.environment.schema import Environment, Member, Role
from pdtest.events.record import Event
from pdtest.oracle.evidence import Claim, Reading, Window
from pdtest.oracle.volley import Volley, read_engines, settle, shares_of
from pdtest.services.engine_flags import ranks
from pdtest.wire.contract import Contract, Params

#: Told of every handoff when it is over, before anything is judged.
Witness = Callable[[Handoff], None]


@dataclass
class Handoffs:
    """The `handoff` fixture: ``await handoff(request, ...)`` gives a `Volley`.

    ``engines`` are the prefill and decode members; ``proxy`` None where the environment has none.
    With several prefill or decode members the client's route pairs them in turn.
    """

    environment: Environment
    contract: Contract
    engines: Mapping[str, Endpoint]
    roles: Mapping[str, Role]
    proxy: Endpoint | None
    block_bytes: int | None
    witness: Witness
    on_event: Callable[[Event], None]
    test: str = ""
    _turn: Iterator[int] = field(default_factory=itertools.count, repr=False)

    async def __call__(
        self,
        *requests: Request,
        route: Route | None = None,
        cached: int | Sequence[int] = 0,
        tamper: TamperWith | None = None,
    ) -> Volley:
        """Send ``requests`` at once and wait for all, with the counters read before and after.

        Args:
            requests: one handoff each.
            route: the two legs by ourselves, or through the proxy; the first where the contract lets us.
            cached: prompt tokens that decode's prefix cache is expected to hold, for all or each.
            tamper: falsifies the parameters between the legs; client route only.

        Failed requests are recorded, not raised; `oracle.judge` fails them.
        """
        before = await self.read()
        handoffs = await asyncio.gather(*(self.send(request, route, tamper) for request in requests))
        return await self.settle(before, handoffs, cached)

    async def read(self) -> Reading:
        """The engines' counters as they stand, for a volley that is put together by hand."""
        return await read_engines(self.engines)

    async def window(self, before: Reading) -> Window:
        """What the counters did since ``before``, as they stand now."""
        return Window(before=before, after=await self.read(), roles=self.roles)

    def with_timeout(self, timeout_s: float) -> Handoffs:
        """The same, giving up on a request after ``timeout_s`` seconds."""
        engines = {name: replace(endpoint, timeout_s=timeout_s) for name, endpoint in self.engines.items()}
        proxy = self.proxy and replace(self.proxy, timeout_s=timeout_s)
        return replace(self, engines=engines, proxy=proxy)

    def over(self, *names: str) -> Handoffs:
        """The same, over these engines only."""
        return replace(
            self,
            engines={name: self.engines[name] for name in names},
            roles={name: self.roles[name] for name in names},
        )

    async def settle(
        self, before: Reading, handoffs: Sequence[Handoff], cached: int | Sequence[int] = 0
    ) -> Volley:
        """The volley of ``handoffs`` that were sent since ``before``, once the counters have caught up."""
        claim = self.claim(handoffs, cached)
        await self._bring_out_late_reads(handoffs)
        within_s = self.environment.thresholds.settle_s
        window = await settle(self.engines, self.roles, before, claim, within_s)
        return Volley(handoffs=tuple(handoffs), window=window, claim=claim)

    async def send(
        self, request: Request, route: Route | None = None, tamper: TamperWith | None = None
    ) -> Handoff:
        """One handoff without reading counters, for tests that look at something else."""
        chosen = route or first_route(self.contract)
        handoff = await self._runner(chosen).run(request, route=chosen, tamper=tamper)
        self.witness(handoff)
        return handoff

    async def prefill_only(self, request: Request) -> Params | None:
        """The first leg alone: what decode would be told. Prefill holds the blocks until it gives up."""
        return await self._runner(Route.CLIENT).prefill_only(request)

    async def decode_only(self, request: Request, params: Params) -> Handoff:
        """The second leg alone, with what `prefill_only` gave."""
        handoff = await self._runner(Route.CLIENT).decode_only(request, params)
        self.witness(handoff)
        return handoff

    def claim(self, handoffs: Sequence[Handoff], cached: int | Sequence[int] = 0) -> Claim:
        """What the counters must show after ``handoffs``."""
        each = [cached] * len(handoffs) if isinstance(cached, int) else cached
        size = self.environment.model.block_size
        shares = (
            share
            for handoff, tokens in zip(handoffs, each, strict=True)
            for share in shares_of(self.contract, handoff, cached_tokens=tokens, block_size=size)
        )
        return Claim(
            contract=self.contract,
            shares=tuple(shares),
            block_bytes=self.block_bytes,
            ranks=max((ranks(engine) for engine in self._members()), default=1),
        )

    def _members(self) -> Iterator[Member]:
        return (member for name, member in self.environment.members.items() if name in self.engines)

    async def _bring_out_late_reads(self, handoffs: Sequence[Handoff]) -> None:
        """Have prefill export what it counted of further choices, or the next volley is charged with it.

        vLLM 0.32 hands its connector's counters out with the results of a step, and an idle prefill takes
        none. A whole answer, not a token: the notification may be on its way yet, and a single step was too
        early in one of 20 rounds.
        """
        asked = next((handoff.request for handoff in handoffs if handoff.request.n > 1), None)
        if asked is not None:
            plain = replace(asked, n=1, stream=False)
            await asyncio.gather(*(prefill.generate(plain) for prefill in self._with_role(Role.PREFILL)))

    def _runner(self, route: Route) -> HandoffRunner:
        turn = next(self._turn)
        prefills, decodes = self._with_role(Role.PREFILL), self._with_role(Role.DECODE)
        return HandoffRunner(
            contract=self.contract,
            # Decode turns once prefill has gone round, so that all pairs come up.
            prefill=prefills[turn % len(prefills)] if prefills else None,
            decode=decodes[turn // max(len(prefills), 1) % len(decodes)] if decodes else None,
            proxy=self.proxy if route is Route.PROXY else None,
            on_event=self.on_event,
            test=self.test,
        )

    def _with_role(self, role: Role) -> list[Endpoint]:
        return [endpoint for name, endpoint in self.engines.items() if self.roles[name] is role]
