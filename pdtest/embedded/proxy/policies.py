"""Which instance gets a request.

A policy chooses among the instances that can be used, and hears of everything that begins and ends. One more
policy is one more class, and a line in `POLICIES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pdtest.embedded.proxy.instances import Instance
    from pdtest.embedded.proxy.request import ClientRequest
    from pdtest.embedded.proxy.work import Work


class Policy(Protocol):
    """How instances are chosen. ``candidates`` are never empty; the choice is one of them."""

    def prefill(self, candidates: Sequence[Instance], request: ClientRequest) -> Instance:
        """Who computes the prompt."""
        ...

    def decode(self, candidates: Sequence[Instance], request: ClientRequest) -> Instance:
        """Who generates."""
        ...

    def began(self, work: Work) -> None:
        """An instance was given one leg of a request."""
        ...

    def ended(self, work: Work) -> None:
        """It is over, in the way that ``work.outcome`` says."""
        ...


class RoundRobin:
    """Whose turn was longest ago. Instances that come and go do not disturb the order of the others."""

    def prefill(self, candidates: Sequence[Instance], request: ClientRequest) -> Instance:
        """By `key`."""
        return min(candidates, key=lambda instance: self.key(instance, request))

    def decode(self, candidates: Sequence[Instance], request: ClientRequest) -> Instance:
        """By `key`."""
        return min(candidates, key=lambda instance: self.key(instance, request))

    def key(self, instance: Instance, request: ClientRequest) -> tuple[int, ...]:  # noqa: ARG002
        """The smallest one gets the request."""
        return (instance.turn,)

    def began(self, work: Work) -> None:
        """Nothing to remember."""

    def ended(self, work: Work) -> None:
        """Nothing to remember."""


class LeastLoaded(RoundRobin):
    """The one with the fewest requests in flight; in turn among equals."""

    def key(self, instance: Instance, request: ClientRequest) -> tuple[int, ...]:  # noqa: ARG002
        """Requests in flight, then turns."""
        return (instance.in_flight, instance.turn)


class KVLength(RoundRobin):
    """The one with the fewest tokens in flight: prompts, and what was generated so far."""

    def key(self, instance: Instance, request: ClientRequest) -> tuple[int, ...]:  # noqa: ARG002
        """Tokens in flight, then requests, then turns."""
        return (instance.kv_length, instance.in_flight, instance.turn)


#: By the names of ``--policy``.
POLICIES: Mapping[str, Callable[[], Policy]] = MappingProxyType(
    {"round_robin": RoundRobin, "least_loaded": LeastLoaded, "kv_length": KVLength}
)
