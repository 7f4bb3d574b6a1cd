"""What a bug is: a change of requests, of answers, or of a stream's events, on one side of the proxy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Any

Body = dict[str, Any]


class Side(StrEnum):
    """Where a request passes."""

    #: Between the client and the proxy.
    FRONT = "front"
    #: Between the proxy and prefill.
    PREFILL = "prefill"
    #: Between the proxy and decode.
    DECODE = "decode"


class Bug:
    """None: everything passes as it is. Each bug overrides what it breaks, and keeps what it has to know.

    One is made when it is chosen, and forgotten when another one is.
    """

    #: Whether the request is sent twice, and the second answer kept.
    twice: frozenset[Side] = frozenset()
    #: Where answers, and events, are of interest: elsewhere bytes pass untouched.
    answers: frozenset[Side] = frozenset()
    streams: frozenset[Side] = frozenset()

    def ask(self, side: Side, body: Body) -> Body:  # noqa: ARG002
        """What is asked instead. ``body`` may be changed."""
        return body

    def answer(self, side: Side, asked: Body, status: int, content: bytes) -> tuple[int, bytes]:  # noqa: ARG002
        """What comes back instead of a whole answer."""
        return status, content

    async def events(self, events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """What comes back instead of a stream's events, each with its empty line."""
        async for event in events:
            yield event
