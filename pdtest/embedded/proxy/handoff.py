"""One request on its way through both legs, and which instances have failed it so far."""

from __future__ import annotations

import logging
import time

from pdtest.embedded.connections import Broken, described
from pdtest.embedded.proxy.contracts.contract import Contract, Opening, Params
from pdtest.embedded.proxy.dispatch import Dispatcher
from pdtest.embedded.proxy.instances import Instance, Side
from pdtest.embedded.proxy.legs import Decoding, LegFailed, Legs, PrefillAnswer
from pdtest.embedded.proxy.request import ClientRequest
from pdtest.embedded.proxy.routing.path import Path
from pdtest.embedded.proxy.routing.router import Router

log = logging.getLogger(__name__)

#: Instances that may fail one request before it is given up: some requests bring down whoever gets them.
_MOST_FAILURES = 3


class Handoff:
    """What the flows work with. Nothing was sent to the client yet.

    ``path`` is the way that it takes; ``deciding_s`` the seconds that it took to say who gets it.
    """

    def __init__(
        self, request: ClientRequest, contract: Contract, router: Router, dispatcher: Dispatcher, legs: Legs
    ) -> None:
        self.request = request
        self.contract = contract
        self.prefilled_by: Instance | None = None
        self.deciding_s = 0.0
        self._router = router
        self._dispatcher = dispatcher
        self._legs = legs
        self._failed: list[Instance] = []
        self.path = self.decide()

    def decide(self) -> Path:
        """The way that is left, with what has failed so far."""
        began_at = time.perf_counter()
        self.path = self._router.path(self.request, self._failed)
        self.deciding_s += time.perf_counter() - began_at
        return self.path

    def choose(self, side: Side) -> Instance:
        """One that has not failed this request. Raises NoneLeft."""
        began_at = time.perf_counter()
        chosen = self._dispatcher.choose(side, self.request, self._failed)
        self.deciding_s += time.perf_counter() - began_at
        return chosen

    def require(self, side: Side) -> None:
        """Raises NoneLeft when there is nobody who could do this leg."""
        self._dispatcher.require(side, self._failed)

    def give_up_on(self, failed: LegFailed) -> None:
        """Go on without this instance. Raises Failure when that is not possible."""
        self._failed.append(failed.instance)
        side = failed.instance.side
        others = any(one not in self._failed for one in self._dispatcher.pool.usable(side))
        self._go_on(failed, possible=failed.may_be_repeated and others)

    def go_around(self, failed: LegFailed) -> None:
        """Go on without an instance that was to do everything, and of which nothing came.

        Raises Failure when that is not possible.
        """
        self._failed.append(failed.instance)
        self._go_on(failed, possible=self._router.can_serve(self.request, self._failed))

    def _go_on(self, failed: LegFailed, *, possible: bool) -> None:
        goes_on = possible and len(self._failed) < _MOST_FAILURES
        log.warning("%s: %s%s", self.request.request_id, failed, "; trying another" if goes_on else "")
        if not goes_on:
            raise failed.failure from failed

    async def open(self, prefill: Instance | None) -> Opening:
        """What the contract must know first. Raises LegFailed."""
        try:
            return await self.contract.open(prefill)
        except Broken as error:
            if prefill is None:
                raise
            raise LegFailed(prefill, f"did not introduce itself ({described(error)})") from error

    async def prefill(
        self, prefill: Instance, opening: Opening, request_id: str | None = None
    ) -> PrefillAnswer:
        """The leg to prefill. Raises LegFailed and PassedOn."""
        self.prefilled_by = prefill
        least = self.contract.prefill_min_tokens
        content = self.request.for_prefill(opening.to_prefill, min_tokens=least)
        headers = {**self.request.headers(request_id or self.request.request_id), **opening.headers}
        answer = await self._legs.prefill(prefill, self.request, content, headers)
        if self.contract.expects_params and answer.params is None:
            # As it should be when the prompt's first token ended the answer; decode then computes for itself.
            log.warning(
                "%s: prefill %s answered without kv_transfer_params; decode will compute the prompt",
                self.request.request_id,
                prefill.address,
            )
        return answer

    async def decode(
        self, decode: Instance, params: Params | None, request_id: str | None = None
    ) -> Decoding:
        """The leg to decode. Raises LegFailed."""
        decoding = await self._legs.decode(
            decode, self.request, params, request_id or self.request.request_id
        )
        decoding.prefill = self.prefilled_by
        return decoding

    async def decode_anywhere(self, params: Params | None) -> Decoding:
        """The leg to decode, at the next instance where one cannot be reached. Raises Failure."""
        while True:
            try:
                return await self.decode(self.choose(Side.DECODE), params)
            except LegFailed as failed:
                self.give_up_on(failed)

    async def prefill_anywhere(self, opening: Opening) -> PrefillAnswer:
        """The leg to prefill, at the next instance where one fails. Raises Failure."""
        while True:
            try:
                return await self.prefill(self.choose(Side.PREFILL), opening)
            except LegFailed as failed:
                self.give_up_on(failed)
