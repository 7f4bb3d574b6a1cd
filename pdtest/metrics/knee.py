"""A sweep of request rates: which rate to try next, and where the service stops to hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pdtest.environment.performance import Rates


@dataclass(frozen=True, kw_only=True)
class Step:
    """One rate that was tried. ``holds`` None: nobody knows, since the client was the bottleneck."""

    rate: float
    holds: bool | None


@dataclass(frozen=True, kw_only=True)
class Knee:
    """``rate``: the highest that held with all below it; None where not even the lowest did.

    ``broke``: the lowest above it that did not hold; None where the sweep ended before one was found.
    """

    rate: float | None
    broke: float | None

    @property
    def found(self) -> bool:
        """Whether it lies between two rates that were tried."""
        return self.rate is not None and self.broke is not None


def knee(steps: Sequence[Step]) -> Knee:
    """Where it lies by the steps so far. What held above one that did not is luck, and does not count."""
    broken = [step.rate for step in steps if step.holds is False]
    broke = min(broken, default=None)
    held = [step.rate for step in steps if step.holds and (broke is None or step.rate < broke)]
    return Knee(rate=max(held, default=None), broke=broke)


def next_rate(steps: Sequence[Step], rates: Rates) -> float | None:
    """The next to try: up by a factor until one does not hold, then the geometric middle. None: enough."""
    if not steps:
        return rates.lowest
    if steps[-1].holds is None:
        # More cannot be put on by this client; what is below has been tried.
        return None
    now = knee(steps)
    if now.broke is None:
        highest = max(step.rate for step in steps)
        return min(highest * rates.factor, rates.highest) if highest < rates.highest else None
    first_broken = next(place for place, step in enumerate(steps) if step.holds is False)
    refined = len(steps) - first_broken - 1
    if now.rate is None or refined >= rates.refine:
        return None
    return float((now.rate * now.broke) ** 0.5)
