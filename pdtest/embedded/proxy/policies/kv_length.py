"""By tokens in flight."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdtest.embedded.proxy.policies.round_robin import RoundRobin

if TYPE_CHECKING:
    from pdtest.embedded.proxy.instances import Instance


class KVLength(RoundRobin):
    """The one with the fewest tokens in flight: prompts, and what was generated so far."""

    def key(self, instance: Instance) -> tuple[int, ...]:
        """Tokens in flight, then requests, then turns."""
        return (instance.kv_length, instance.in_flight, instance.turn)
