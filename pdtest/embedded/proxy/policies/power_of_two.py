"""The less loaded of two."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pdtest.embedded.proxy.policies.least_loaded import LeastLoaded

if TYPE_CHECKING:
    from pdtest.embedded.proxy.instances import Instance
    from pdtest.embedded.proxy.request import ClientRequest


class PowerOfTwo(LeastLoaded):
    """Two by chance, and of them the one with fewer requests in flight; in turn among equals.

    As vllm-router's of that name (vllm-project/router, src/policies/power_of_two.rs).
    """

    def __init__(self, source: random.Random | None = None) -> None:
        self._source = source or random.Random()  # noqa: S311

    def choose(self, candidates: Sequence[Instance], request: ClientRequest) -> Instance:
        """Of fewer than two, the one."""
        return super().choose(self._source.sample(candidates, min(2, len(candidates))), request)
