"""The seam between the proxy and the ways of spreading requests over instances.

One file per policy implements `Policy`; one more policy is one more file, and a line in `registry.py`. Each
side has a policy object of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pdtest.embedded.proxy.instances import Instance
    from pdtest.embedded.proxy.request import ClientRequest
    from pdtest.embedded.proxy.work import Work


class Policy(Protocol):
    """How instances are chosen, and what is remembered for that."""

    def choose(self, candidates: Sequence[Instance], request: ClientRequest) -> Instance:
        """Who gets it: one of ``candidates``, which can all be used, and are never none."""
        ...

    def began(self, work: Work) -> None:
        """An instance was given one leg of a request."""
        ...

    def ended(self, work: Work) -> None:
        """It is over, in the way that ``work.outcome`` says."""
        ...

    def gone(self, instance: Instance) -> None:
        """An instance was removed, or is out: what was remembered of it does not hold any more."""
        ...
