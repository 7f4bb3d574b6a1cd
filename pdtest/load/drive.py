"""Puts a load on a deployment from processes of its own, and gives back what they saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pdtest.load.ask import LoadPlan
from pdtest.load.way import Way
from pdtest.results import ClientHealth, Exchange


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What a load's client saw. Fields as in `pdtest.results.Result`; ``exchanges`` by number."""

    exchanges: tuple[Exchange, ...]
    client: ClientHealth
    begun_unix_s: float
    begun_monotonic_s: float
    lasted_s: float
    steady_s: tuple[float, float] | None


def drive(plan: LoadPlan, ways: Sequence[Way], *, processes: int = 1, timeout_s: float = 120.0) -> Recorded:
    """Put ``plan`` on ``ways``, which take the requests in turn, and wait for all answers. Blocks.

    ``timeout_s`` is for one request. One that fails is recorded, not raised. Raises LoadBroken when a
    process of the client dies.
    """
    raise NotImplementedError
