"""Requests of many tests fired at once, and judged one by one.

Thirty requests one after the other take thirty round trips; at once they share the engines' batches.
What each answered is its own, but counters are not: they belong to the whole volley. While the
volley's totals are exact, every single handoff moved what it should. When they are not, nobody knows
whose fault it is, so a request in question is fired again by itself. What it answered among all others
is judged all the same: being right alone does not mend it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from pdtest.client.handoff import Route
from pdtest.client.request import Request
from pdtest.oracle.evidence import settled
from pdtest.oracle.handoffs import Handoffs
from pdtest.oracle.reference import Reference
from pdtest.oracle.volley import Volley


@dataclass
class Gallery:
    """The requests of some tests of one environment and route; whichever test comes first fires them."""

    requests: tuple[Request, ...]
    route: Route
    _volley: Volley | None = field(default=None, repr=False)

    @classmethod
    def of(cls, requests: Iterable[Request], route: Route) -> Gallery:
        """A gallery of these requests, each once."""
        return cls(requests=tuple({request.digest(): request for request in requests}.values()), route=route)

    async def all(self, handoff: Handoffs, reference: Reference | None = None) -> Volley:
        """The volley of all, fired at the first call.

        ``reference`` is then asked about all of them at once as well: one that keeps its answers has
        them ready when each test asks for its own. What fails there will fail again in that test.
        """
        if self._volley is None:
            self._volley = await handoff(*self.requests, route=self.route)
            if reference is not None:
                # Not before: a borrowed reference is one of the engines whose counters were read.
                await asyncio.gather(*map(reference.answer, self.requests), return_exceptions=True)
        return self._volley

    async def one(
        self, request: Request, again: Request, handoff: Handoffs, reference: Reference | None = None
    ) -> Volley:
        """The volley that shows how ``request`` fared: its part of all, or that and one of its own.

        ``again`` is a request of the same shape with another prompt, for the second case: the first
        one's is in decode's prefix cache by now. The counters of such a volley are those of ``again``.
        """
        volley = await self.all(handoff, reference)
        digests = [other.digest() for other in self.requests]
        own = volley.handoffs[digests.index(request.digest())]
        if own.answer is None or settled(volley.window, volley.claim):
            return replace(volley, handoffs=(own,))
        alone = await handoff(again, route=self.route)
        return replace(alone, handoffs=(own, *alone.handoffs))
