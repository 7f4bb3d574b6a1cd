"""Waits until a member serves, by asking it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx

from pdtest.services.service import Probe

INTERVAL_S = 0.1
#: A server that accepts and then thinks is asked again after this long.
ANSWER_TIMEOUT_S = 2.0
#: Of a refusal, this many characters are shown.
_WORDS = 200


async def until_ready(probe: Probe, *, api_key: str | None, note: Callable[[str], None]) -> None:
    """Return when the probe is accepted; ``note`` hears what came instead, in words.

    Never gives up: the caller sets the deadline, and knows when the member dies.
    """
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    async with httpx.AsyncClient(
        headers=headers,
        timeout=ANSWER_TIMEOUT_S,
        trust_env=False,  # a proxy of the company's network knows nothing of our members
        verify=probe.url.startswith("https:"),  # loading certificates takes longer than a round of probing
    ) as client:
        accepted = await _accepted(client, probe, note)
        while not accepted:
            await asyncio.sleep(INTERVAL_S)
            accepted = await _accepted(client, probe, note)


async def _accepted(client: httpx.AsyncClient, probe: Probe, note: Callable[[str], None]) -> bool:
    try:
        response = await client.get(probe.url)
    except httpx.TimeoutException:
        note(f"no answer within {ANSWER_TIMEOUT_S:.0f} s")
    except httpx.TransportError as error:
        note(str(error) or type(error).__name__)
    else:
        note(_said(response))
        return response.status_code in probe.accept
    return False


def _said(response: httpx.Response) -> str:
    """The status, and the words that go with a refusal: they often say what is waited for."""
    words = " ".join(response.text[:_WORDS].split())
    return f"HTTP {response.status_code}" + (f": {words}" if response.is_error and words else "")
