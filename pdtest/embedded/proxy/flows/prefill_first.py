"""Prefill answers; then decode is told what it answered."""

from __future__ import annotations

from pdtest.embedded.proxy.contracts.contract import Opening
from pdtest.embedded.proxy.handoff import Handoff
from pdtest.embedded.proxy.instances import Instance, Side
from pdtest.embedded.proxy.legs import Decoding, LegFailed


async def prefill_first(handoff: Handoff) -> Decoding:
    """Raises Failure."""
    lead = _paired if handoff.contract.pairs else _free
    while True:
        try:
            return await lead(handoff, handoff.choose(Side.PREFILL))
        except LegFailed as failed:
            handoff.give_up_on(failed)


async def _free(handoff: Handoff, prefill: Instance) -> Decoding:
    """Decode is chosen when it is needed, and another one can take its place."""
    opening = await handoff.open(prefill)
    answer = await handoff.prefill(prefill, opening)
    return await handoff.decode_anywhere(handoff.contract.params_for_decode(opening, answer.params))


async def _paired(handoff: Handoff, prefill: Instance) -> Decoding:
    """Prefill must know decode; when that one cannot be reached, both legs are done again."""
    decode = handoff.choose(Side.DECODE)
    request_id = handoff.contract.request_id(handoff.request.request_id, prefill, decode)
    opening: Opening = await handoff.open(prefill)
    answer = await handoff.prefill(prefill, opening, request_id)
    return await handoff.decode(
        decode, handoff.contract.params_for_decode(opening, answer.params), request_id
    )
