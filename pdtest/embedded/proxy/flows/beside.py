"""Two legs under way at once, of which either can end the other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from pdtest.embedded.proxy.handoff import Handoff
from pdtest.embedded.proxy.legs import Decoding
from pdtest.embedded.proxy.work import Outcome

log = logging.getLogger(__name__)


async def beside(
    handoff: Handoff, prefill: asyncio.Task[Any], decode: Coroutine[Any, Any, Decoding]
) -> Decoding:
    """Decode's answer, once prefill can no longer spoil it: it is through, or decode's first bytes are there.

    Until then a failure of prefill is raised, and decode is let go: it would wait for what never comes. A
    streaming engine says 200 before it has any KV, so its status alone is not enough. Raises what either
    raises.
    """
    prefill.add_done_callback(_heard)
    opening = asyncio.ensure_future(decode)
    try:
        decoding = await _undisturbed(prefill, opening)
    except BaseException:
        await _let_go(opening)
        prefill.cancel()
        raise
    try:
        if decoding.is_good:
            await _certain(prefill, decoding)
    except BaseException:
        decoding.end(Outcome.ABORTED)
        prefill.cancel()
        raise
    decoding.prefill = handoff.prefilled_by
    decoding.on_end = lambda well: None if well else _end(prefill)
    return decoding


async def _undisturbed(prefill: asyncio.Task[Any], opening: asyncio.Future[Decoding]) -> Decoding:
    await asyncio.wait((prefill, opening), return_when=asyncio.FIRST_COMPLETED)
    if prefill.done():
        prefill.result()
    return await opening


async def _certain(prefill: asyncio.Task[Any], decoding: Decoding) -> None:
    first = asyncio.ensure_future(decoding.begin())
    try:
        await asyncio.wait((prefill, first), return_when=asyncio.FIRST_COMPLETED)
        answers = first.done() and first.exception() is None
        if prefill.done() and not answers:
            prefill.result()
    finally:
        first.cancel()
        await asyncio.wait((first,))
        if not first.cancelled():
            first.exception()  # heard here; a connection that broke shows again when the answer is read


async def _let_go(opening: asyncio.Future[Decoding]) -> None:
    opening.cancel()
    (result,) = await asyncio.gather(opening, return_exceptions=True)
    if isinstance(result, Decoding):
        result.end(Outcome.ABORTED)


def _end(prefill: asyncio.Task[Any]) -> None:
    prefill.cancel()


def _heard(prefill: asyncio.Task[Any]) -> None:
    if not prefill.cancelled() and (error := prefill.exception()) is not None:
        log.debug("the prefill leg ended with %s", error)
