"""Without looking."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pdtest.embedded.proxy.policies.round_robin import RoundRobin

if TYPE_CHECKING:
    from pdtest.embedded.proxy.instances import Instance
    from pdtest.embedded.proxy.request import ClientRequest


class RandomChoice(RoundRobin):
    """Any of them, each as likely as the others."""

    def __init__(self, source: random.Random | None = None) -> None:
        self._source = source or random.Random()  # noqa: S311

    def choose(self, candidates: Sequence[Instance], request: ClientRequest) -> Instance:  # noqa: ARG002
        """By chance."""
        return self._source.choice(candidates)
