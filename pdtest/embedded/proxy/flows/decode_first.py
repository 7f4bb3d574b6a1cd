"""Decode is asked, makes room, and reports to the metaserver; then prefill is sent what it reported."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from pdtest.embedded.proxy.contracts.contract import Opening
from pdtest.embedded.proxy.errors import Failure
from pdtest.embedded.proxy.flows.beside import beside
from pdtest.embedded.proxy.handoff import Handoff
from pdtest.embedded.proxy.instances import Side
from pdtest.embedded.proxy.legs import Decoding
from pdtest.embedded.proxy.metaserver import Meeting, Metaserver


async def decode_first(handoff: Handoff, metaserver: Metaserver) -> Decoding:
    """Raises Failure."""
    _require_one_prompt(handoff)
    handoff.require(Side.PREFILL)  # else decode would wait for a prefill that is not there
    opening = await handoff.open(None)
    request_id = handoff.request.request_id
    meeting = metaserver.expect(request_id)
    meeting.leg = asyncio.create_task(_once_reported(handoff, meeting))
    meeting.leg.add_done_callback(lambda _: metaserver.forget(request_id))
    params = handoff.contract.params_for_decode(opening, None)
    decoding = await beside(handoff, meeting.leg, handoff.decode_anywhere(params))
    cancel = decoding.on_end

    def over(well: bool) -> None:
        cancel(well)
        meeting.close()

    decoding.on_end = over
    return decoding


async def _once_reported(handoff: Handoff, meeting: Meeting) -> None:
    """What decode reports is what prefill gets as its parameters."""
    params = await meeting.reported
    await handoff.prefill_anywhere(Opening(to_prefill=params))


def _require_one_prompt(handoff: Handoff) -> None:
    prompt = handoff.request.body.get("prompt")
    if isinstance(prompt, list) and len(prompt) > 1 and not isinstance(prompt[0], int):
        raise Failure(
            HTTPStatus.BAD_REQUEST,
            f"{len(prompt)} prompts in one request; with {handoff.contract.name} each needs its own request",
        )
