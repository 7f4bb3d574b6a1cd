"""A gallery of shapes, fired at once and judged one by one.

Thirty shapes one after the other take thirty round trips; at once they share the engines' batches.
What each answered is its own, but counters are not: they belong to the whole volley. While the
volley's totals are exact every single handoff moved what it should. When they are not, nobody knows
whose fault it is, so the shape in question is fired again by itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from pdtest.client.handoff import Route
from pdtest.client.prompts import Prompts
from pdtest.client.shapes import Shape
from pdtest.environment.schema import Model
from pdtest.oracle.evidence import settled
from pdtest.oracle.handoffs import Handoffs
from pdtest.oracle.volley import Volley


@dataclass
class Gallery:
    """The shapes of one environment and route. Made once; fired by whichever test comes first."""

    shapes: tuple[Shape, ...]
    route: Route
    _volley: Volley | None = field(default=None, repr=False)

    async def all(self, handoff: Handoffs, prompts: Prompts, model: Model) -> Volley:
        """The volley of all shapes, fired at the first call."""
        if self._volley is None:
            requests = [shape.make(prompts, model) for shape in self.shapes]
            self._volley = await handoff(*requests, route=self.route)
        return self._volley

    async def one(self, shape: Shape, handoff: Handoffs, prompts: Prompts, model: Model) -> Volley:
        """The volley that shows how ``shape`` fared: its part of all, or one of its own."""
        volley = await self.all(handoff, prompts, model)
        if not settled(volley.window, volley.claim):
            return await handoff(shape.make(prompts, model), route=self.route)
        mine = volley.handoffs[self.shapes.index(shape)]
        return replace(volley, handoffs=(mine,))


def gallery_of(shapes: Iterable[Shape], route: Route) -> Gallery:
    """A gallery of these shapes, each once, in the order of the catalogue."""
    return Gallery(shapes=tuple(dict.fromkeys(shapes)), route=route)
