"""By requests in flight."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdtest.embedded.proxy.policies.round_robin import RoundRobin

if TYPE_CHECKING:
    from pdtest.embedded.proxy.instances import Instance


class LeastLoaded(RoundRobin):
    """The one with the fewest requests in flight; in turn among equals."""

    def key(self, instance: Instance) -> tuple[int, ...]:
        """Requests in flight, then turns."""
        return (instance.in_flight, instance.turn)
