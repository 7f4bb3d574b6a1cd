"""In turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pdtest.embedded.proxy.instances import Instance
    from pdtest.embedded.proxy.request import ClientRequest
    from pdtest.embedded.proxy.work import Work


class RoundRobin:
    """Whose turn was longest ago. Instances that come and go do not disturb the order of the others."""

    def choose(self, candidates: Sequence[Instance], request: ClientRequest) -> Instance:  # noqa: ARG002
        """By `key`."""
        return min(candidates, key=self.key)

    def key(self, instance: Instance) -> tuple[int, ...]:
        """The smallest one gets the request."""
        return (instance.turn,)

    def began(self, work: Work) -> None:
        """Nothing to remember."""

    def ended(self, work: Work) -> None:
        """Nothing to remember."""

    def gone(self, instance: Instance) -> None:
        """Nothing to forget."""
