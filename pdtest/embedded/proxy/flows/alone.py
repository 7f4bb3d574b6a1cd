"""One instance computes the prompt and the answer."""

from __future__ import annotations

from pdtest.embedded.proxy.handoff import Handoff
from pdtest.embedded.proxy.instances import Side
from pdtest.embedded.proxy.legs import Decoding


async def alone(handoff: Handoff, side: Side) -> Decoding:
    """It gets the request without kv_transfer_params: nothing is handed over. Raises LegFailed, NoneLeft."""
    instance = handoff.choose(side)
    handoff.prefilled_by = instance
    return await handoff.decode(instance, None)
