"""The handoff: a request's journey from prefill to decode, and everything that was seen of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pdtest.client.answer import Answer
from pdtest.client.endpoint import Endpoint, new_request_id
from pdtest.client.errors import RequestFailed
from pdtest.client.request import Request
from pdtest.client.secrets import mask, mask_json
from pdtest.events.handoff import HandoffFinished, HopRecord
from pdtest.events.record import Event
from pdtest.wire.contract import Breach, Contract, Leg, Order, Params, Review

#: Falsifies the parameters between the legs; None sends none.
TamperWith = Callable[[Params], Params | None]


class Route(StrEnum):
    """Who carries the parameters from prefill to decode."""

    CLIENT = "client"
    PROXY = "proxy"


def first_route(contract: Contract) -> Route:
    """The client, where the contract lets it lead both legs."""
    return Route.CLIENT if contract.obstacle is None else Route.PROXY


class Ending(StrEnum):
    """How a handoff ended."""

    ANSWERED = "answered"
    PREFILL_FAILED = "prefill failed"
    DECODE_FAILED = "decode failed"
    PROXY_FAILED = "proxy failed"
    ABANDONED = "abandoned"


@dataclass(frozen=True, kw_only=True)
class Hop:
    """One request of a handoff: either ``answer`` or ``error`` is there.

    ``sent`` are the kv_transfer_params of the request. Times are seconds since the handoff began.
    """

    member: str
    sent: Params | None
    started_s: float
    ended_s: float
    answer: Answer | None = None
    error: RequestFailed | None = None

    @property
    def answered(self) -> Params | None:
        """The kv_transfer_params of the answer."""
        return self.answer.kv_transfer_params if self.answer else None

    @property
    def took_s(self) -> float:
        """How long it took, seconds."""
        return self.ended_s - self.started_s


@dataclass(frozen=True, kw_only=True)
class Handoff:
    """What was seen of one handoff. Of one through a proxy that is the ``proxy`` hop only.

    ``reviews``: the messages that were seen, held against the contract; those of a handoff that was
    tampered with show the tampering.
    """

    request: Request
    request_id: str
    route: Route
    contract: str
    ending: Ending
    prefill: Hop | None = None
    decode: Hop | None = None
    proxy: Hop | None = None
    reviews: tuple[Review, ...] = ()
    tampered: bool = False
    started_at: float = field(default_factory=time.time)

    @property
    def last(self) -> Hop | None:
        """The hop that ended it: decode or the proxy, or prefill when it came no further."""
        return self.proxy or self.decode or self.prefill

    @property
    def answer(self) -> Answer | None:
        """What the user of the service gets; None when it failed."""
        return self.last.answer if self.last and self.ending is Ending.ANSWERED else None

    @property
    def error(self) -> RequestFailed | None:
        """Why there is no answer."""
        return self.last.error if self.last else None

    @property
    def breaches(self) -> tuple[Breach, ...]:
        """Where the messages break the contract."""
        return tuple(breach for review in self.reviews for breach in review.breaches)

    def require(self) -> Answer:
        """The answer. Raises the RequestFailed error that came instead."""
        if self.answer is not None:
            return self.answer
        if self.error is not None:
            raise self.error
        raise RuntimeError(f"handoff {self.request_id} has not ended")


@dataclass(frozen=True, kw_only=True)
class HandoffRunner:
    """Sends requests on their journey over one prefill and one decode member, or through a proxy.

    The members it has decide what it can do: `run` needs ``prefill`` and ``decode``, or ``proxy``.
    ``on_event`` is told when a handoff is over; the requests tell their endpoints' ``on_event``.
    """

    contract: Contract
    prefill: Endpoint | None = None
    decode: Endpoint | None = None
    proxy: Endpoint | None = None
    on_event: Callable[[Event], None] | None = field(default=None, repr=False)
    test: str = ""

    async def run(
        self,
        request: Request,
        *,
        route: Route | None = None,
        tamper: TamperWith | None = None,
        request_id: str | None = None,
    ) -> Handoff:
        """One handoff. A request that fails is recorded in it, not raised: see `Handoff.require`.

        Both legs carry the same X-Request-Id, ``request_id`` unless the contract makes another one of it.
        The client leads them in the contract's order. ``route`` defaults to the proxy if there is one.
        ``tamper`` works between the legs, so not through a proxy.
        """
        journey = _Journey(self, request, request_id or new_request_id(), tamper)
        chosen = route or (Route.PROXY if self.proxy else Route.CLIENT)
        if chosen is Route.PROXY and tamper is not None:
            raise ValueError("parameters cannot be tampered with behind a proxy; use Route.CLIENT")
        try:
            await (journey.through_proxy() if chosen is Route.PROXY else journey.by_client())
        finally:
            # Also when the caller cancels, or a tamper finds nothing to falsify: prefill then holds
            # blocks that nobody will fetch, which the history has to know.
            handoff = journey.record(chosen)
            self._tell(handoff)
        return handoff

    async def prefill_only(self, request: Request) -> Params | None:
        """The leg to prefill, and what decode would be told then. Nobody fetches the blocks.

        Raises RequestFailed errors.
        """
        journey = _Journey(self, request, new_request_id(), None)
        return await journey.to_prefill()

    async def decode_only(self, request: Request, params: Params) -> Handoff:
        """The leg to decode, with parameters that were got before."""
        journey = _Journey(self, request, new_request_id(), None)
        try:
            await journey.to_decode(params)
        finally:
            handoff = journey.record(Route.CLIENT)
            self._tell(handoff)
        return handoff

    def _tell(self, handoff: Handoff) -> None:
        if self.on_event is not None:
            members = (self.prefill, self.decode, self.proxy)
            secrets = frozenset().union(*(member.secrets for member in members if member))
            self.on_event(_event(handoff, self.test, secrets))


class _Journey:
    """A handoff under way: the only place where it changes."""

    def __init__(
        self, runner: HandoffRunner, request: Request, request_id: str, tamper: TamperWith | None
    ) -> None:
        self._runner = runner
        self._contract = runner.contract
        self._request = request
        self._request_id = request_id
        self._tamper = tamper
        self._started_at = time.time()
        self._started = time.perf_counter()
        self._hops: dict[str, Hop] = {}
        self._reviews: list[Review] = []
        self.ending = Ending.ABANDONED

    async def by_client(self) -> None:
        prefill, decode = self._meet()
        if self._contract.order is Order.TOGETHER:
            await self._together(prefill, decode)
        else:
            await self._prefill_first(prefill, decode)

    async def to_prefill(self) -> Params | None:
        prefill, _ = self._meet()
        sent = self._contract.params_for_prefill()
        request, name = self._for_prefill(), self._request_id
        answer = await prefill.generate(request, kv_transfer_params=sent, request_id=name)
        introduced = await self._introduced(prefill)
        known = answer.kv_transfer_params if introduced is None else {**(sent or {}), **introduced}
        return self._contract.params_for_decode(known)

    async def to_decode(self, params: Params) -> None:
        _, decode = self._meet()
        self._conclude(await self._hop("decode", decode, self._request, params))

    def _meet(self) -> tuple[Endpoint, Endpoint]:
        """Both engines, and the request's id made for the two."""
        if self._contract.obstacle is not None:
            raise ValueError(f"{self._contract.name}: {self._contract.obstacle}; use Route.PROXY")
        prefill = self._present("prefill", self._runner.prefill)
        decode = self._present("decode", self._runner.decode)
        self._request_id = self._contract.request_id(self._request_id, prefill.station, decode.station)
        return prefill, decode

    async def _prefill_first(self, prefill: Endpoint, decode: Endpoint) -> None:
        first = self._review(Leg.TO_PREFILL, self._contract.params_for_prefill())
        hop = await self._hop("prefill", prefill, self._for_prefill(), first)
        if hop.error is not None:
            self.ending = Ending.PREFILL_FAILED
            return
        second = self._for_decode(self._review(Leg.FROM_PREFILL, hop.answered))
        self._conclude(await self._hop("decode", decode, self._request, second))

    async def _together(self, prefill: Endpoint, decode: Endpoint) -> None:
        first = self._review(Leg.TO_PREFILL, self._contract.params_for_prefill())
        try:
            introduced = await self._introduced(prefill)
        except RequestFailed as failure:
            self._keep("prefill", prefill, first, self._elapsed(), error=failure)
            self.ending = Ending.PREFILL_FAILED
            return
        second = self._for_decode({**(first or {}), **(introduced or {})})
        legs = (
            asyncio.create_task(self._hop("prefill", prefill, self._for_prefill(), first)),
            asyncio.create_task(self._hop("decode", decode, self._request, second)),
        )
        try:
            hop = await legs[0]
            if hop.error is not None:  # decode would wait for what never comes
                self.ending = Ending.PREFILL_FAILED
                return
            self._review(Leg.FROM_PREFILL, hop.answered)
            self._conclude(await legs[1])
        finally:
            for leg in legs:
                leg.cancel()
            await asyncio.gather(*legs, return_exceptions=True)

    async def _introduced(self, prefill: Endpoint) -> Params | None:
        introduction = self._contract.introduction
        return None if introduction is None else await prefill.introduced(introduction)

    def _for_prefill(self) -> Request:
        return self._request.for_prefill(min_tokens=self._contract.prefill_min_tokens)

    def _for_decode(self, known: Params | None) -> Params | None:
        params: Params | None = self._contract.params_for_decode(known)
        if self._tamper is not None:
            params = self._tamper(params or {})
        return self._review(Leg.TO_DECODE, params)

    def _conclude(self, decode: Hop) -> None:
        self.ending = Ending.DECODE_FAILED if decode.error else Ending.ANSWERED

    async def through_proxy(self) -> None:
        proxy = self._present("proxy", self._runner.proxy)
        hop = await self._hop("proxy", proxy, self._request, None)
        self.ending = Ending.PROXY_FAILED if hop.error else Ending.ANSWERED

    def record(self, route: Route) -> Handoff:
        return Handoff(
            request=self._request,
            request_id=self._request_id,
            route=route,
            contract=self._contract.name,
            ending=self.ending,
            reviews=tuple(sorted(self._reviews, key=lambda review: list(Leg).index(review.leg))),
            tampered=self._tamper is not None,
            started_at=self._started_at,
            **self._hops,
        )

    @staticmethod
    def _present(role: str, endpoint: Endpoint | None) -> Endpoint:
        if endpoint is None:
            raise ValueError(f"this runner has no {role} member")
        return endpoint

    async def _hop(self, role: str, endpoint: Endpoint, request: Request, sent: Params | None) -> Hop:
        started_s = self._elapsed()
        try:
            answer = await endpoint.generate(request, kv_transfer_params=sent, request_id=self._request_id)
        except RequestFailed as failure:
            return self._keep(role, endpoint, sent, started_s, error=failure)
        return self._keep(role, endpoint, sent, started_s, answer=answer)

    def _keep(
        self, role: str, endpoint: Endpoint, sent: Params | None, started_s: float, **outcome: Any
    ) -> Hop:
        hop = Hop(member=endpoint.name, sent=sent, started_s=started_s, ended_s=self._elapsed(), **outcome)
        self._hops[role] = hop
        return hop

    def _review(self, leg: Leg, params: Params | None) -> Params | None:
        self._reviews.append(self._contract.review(leg, params))
        return params

    def _elapsed(self) -> float:
        return time.perf_counter() - self._started


def _event(handoff: Handoff, test: str, secrets: frozenset[str]) -> HandoffFinished:
    usage = handoff.answer.usage if handoff.answer else None
    return HandoffFinished(
        request_id=handoff.request_id,
        test=test,
        contract=handoff.contract,
        route=handoff.route,
        outcome=handoff.ending,
        digest=handoff.request.digest(),
        prompt_tokens=usage.prompt_tokens if usage else handoff.request.prompt_tokens,
        completion_tokens=usage.completion_tokens if usage else None,
        prefill=_hop_record(handoff.prefill, secrets),
        decode=_hop_record(handoff.decode, secrets),
        proxy=_hop_record(handoff.proxy, secrets),
        tampered=handoff.tampered,
        breaches=tuple(mask(str(breach), secrets) for breach in handoff.breaches),
        extra=tuple(name for review in handoff.reviews for name in review.extra),
        drift=tuple(name for review in handoff.reviews for name in review.drift),
        error=str(handoff.error) if handoff.error else None,
        total_s=handoff.last.ended_s if handoff.last else 0.0,
    )


def _hop_record(hop: Hop | None, secrets: frozenset[str]) -> HopRecord | None:
    if hop is None:
        return None
    first_token_s = hop.answer.timings.first_token_s if hop.answer else None
    return HopRecord(
        member=hop.member,
        sent=_plain(hop.sent, secrets),
        answered=_plain(hop.answered, secrets),
        error=type(hop.error).__name__ if hop.error else None,
        started_s=hop.started_s,
        first_token_s=None if first_token_s is None else hop.started_s + first_token_s,
        ended_s=hop.ended_s,
    )


def _plain(params: Mapping[str, Any] | None, secrets: frozenset[str]) -> dict[str, Any] | None:
    return None if params is None else dict(mask_json(params, secrets))
