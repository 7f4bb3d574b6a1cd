"""Both legs at once; the engines find each other by the id that both were given."""

from __future__ import annotations

import asyncio

from pdtest.embedded.proxy.flows.beside import beside
from pdtest.embedded.proxy.handoff import Handoff
from pdtest.embedded.proxy.instances import Side
from pdtest.embedded.proxy.legs import Decoding, LegFailed


async def together(handoff: Handoff) -> Decoding:
    """Raises Failure."""
    while True:
        prefill = handoff.choose(Side.PREFILL)
        try:
            opening = await handoff.open(prefill)
            leg = asyncio.create_task(handoff.prefill(prefill, opening))
            params = handoff.contract.params_for_decode(opening, None)
            decoding = await beside(handoff, leg, handoff.decode_anywhere(params))
        except LegFailed as failed:
            handoff.give_up_on(failed)
        else:
            decoding.prefill = prefill
            if decoding.status >= 500:  # noqa: PLR2004
                handoff.contract.doubt(prefill)
            return decoding
