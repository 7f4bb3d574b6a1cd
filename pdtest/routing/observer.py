"""The seam between a router and what is asked about it: who served this request?

To add a router that says it in a way of its own: a file in this room with a class of this shape, and a line
in `registry.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from pdtest.client.answer import Answer
from pdtest.routing.served import Observation

#: Sends requests through the router, and gives their answers in the order in which they were sent.
Send = Callable[[], Awaitable[Sequence[Answer]]]


class Observer(Protocol):
    """One way of learning who served requests. It has the clients of all engines."""

    name: str

    async def observe(self, send: Send) -> Observation:
        """Who served what ``send`` sends. What cannot be known is None there, never a guess.

        Nobody else may use the engines meanwhile. Raises what ``send`` raises.
        """
        ...
