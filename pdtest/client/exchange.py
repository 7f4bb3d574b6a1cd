"""One HTTP request and its reply; what goes wrong on the way becomes an error of ours."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import httpx

from pdtest.client.errors import BrokenStream, Call, RequestTimedOut, Unreachable

#: Takes a piece of the body and when it came, in seconds since the request was sent.
Consume = Callable[[bytes, float], None]


@dataclass
class Reply:
    """What has arrived so far. ``status`` is None before the headers; times in seconds since sent."""

    sent_at: float = field(default_factory=time.time)
    started: float = field(default_factory=time.perf_counter)
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytearray = field(default_factory=bytearray)
    first_byte_s: float = 0.0
    total_s: float = 0.0

    @property
    def text(self) -> str:
        """The body. Bytes that are not UTF-8 show as replacement characters."""
        return self.content.decode("utf-8", errors="replace")

    def elapsed(self) -> float:
        """Seconds since the request was sent."""
        return time.perf_counter() - self.started


async def exchange(
    http: httpx.AsyncClient, call: Call, reply: Reply, *, consume: Consume | None = None
) -> None:
    """Send ``call`` and fill ``reply`` with the answer, whatever its status.

    ``consume`` is given the pieces of a body with status 200 as they come; what it raises ends the
    exchange. Raises RequestTimedOut, Unreachable before and BrokenStream after a status arrived.
    """
    try:
        async with asyncio.timeout(call.timeout_s):
            await _receive(http, call, reply, consume)
    except TimeoutError:
        body = reply.text if reply.status else None
        raise RequestTimedOut(call, status=reply.status, body=body) from None
    except (httpx.RequestError, httpx.InvalidURL) as error:
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        if reply.status is None:
            raise Unreachable(call, reason=reason) from error
        raise BrokenStream(call, reason=reason, status=reply.status, body=reply.text) from error
    reply.total_s = reply.elapsed()


async def _receive(http: httpx.AsyncClient, call: Call, reply: Reply, consume: Consume | None) -> None:
    # The deadline of the call is the only one: httpx's own would cut a slow prefill off at 5 s.
    sending = http.stream(call.method, call.url, json=call.json, headers=dict(call.headers), timeout=None)
    async with sending as response:
        reply.first_byte_s = reply.elapsed()
        reply.status = response.status_code
        reply.headers = {name.lower(): value for name, value in response.headers.items()}
        async for piece in response.aiter_bytes():
            reply.content += piece
            if consume is not None and reply.status == httpx.codes.OK:
                consume(piece, reply.elapsed())
