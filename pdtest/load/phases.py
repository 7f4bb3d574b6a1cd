"""Where the time of handoffs went."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from pdtest.client.handoff import Handoff
from pdtest.load.percentile import percentile


@dataclass(frozen=True, kw_only=True)
class Times:
    """Mean and percentiles, seconds."""

    mean: float
    p50: float
    p90: float
    p99: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self | None:
        """None of no values."""
        if not values:
            return None
        ranked = sorted(values)
        return cls(
            mean=statistics.fmean(ranked),
            p50=percentile(ranked, 50),
            p90=percentile(ranked, 90),
            p99=percentile(ranked, 99),
            most=ranked[-1],
        )


@dataclass(frozen=True, kw_only=True)
class Phases:
    """Of the handoffs that were answered and whose two legs were seen. None where there is no such one.

    ``between`` is what is left of the total: the client's own time from prefill's answer to decode's request.
    Legs that go at once (`Order.TOGETHER`) overlap, and their shares add up to more than 1.
    """

    total: Times | None
    prefill: Times | None
    decode: Times | None
    between: Times | None

    @classmethod
    def of(cls, handoffs: Sequence[Handoff]) -> Self:
        """Those of some handoffs."""
        seen = [_legs(handoff) for handoff in handoffs if handoff.answer is not None]
        legs = [leg for leg in seen if leg is not None]
        return cls(
            total=Times.of([total for total, _, _ in legs]),
            prefill=Times.of([prefill for _, prefill, _ in legs]),
            decode=Times.of([decode for _, _, decode in legs]),
            between=Times.of([max(total - prefill - decode, 0.0) for total, prefill, decode in legs]),
        )

    def share(self, phase: Times | None) -> float | None:
        """A phase's part of the total, by their means."""
        if phase is None or self.total is None or not self.total.mean:
            return None
        return phase.mean / self.total.mean


def _legs(handoff: Handoff) -> tuple[float, float, float] | None:
    prefill, decode = handoff.prefill, handoff.decode
    if prefill is None or decode is None:
        return None
    return max(prefill.ended_s, decode.ended_s), prefill.took_s, decode.took_s
