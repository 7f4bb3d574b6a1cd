"""What a pair of prefill and decode is said to gain over one instance: confirmed, refuted or left open."""

from __future__ import annotations

from collections.abc import Mapping

from pdtest.compare import Comparison
from pdtest.compare.comparison import Change
from pdtest.environment.performance import Limit
from pdtest.oracle.verdict import Finding, Ruling


def claim_findings(comparison: Comparison, claims: Mapping[str, Limit]) -> list[Finding]:
    """``claims``: by measure, what its value on the new side may be, over that on the old one.

    Confirmed where all of the interval that holds the true ratio in 90 of 100 comparisons is within the
    limit, refuted where none of it is.
    """
    changes = {change.measure: change for change in comparison.changes}
    return [_claim(name, changes.get(name), limit, comparison) for name, limit in claims.items()]


def ratio(change: Change) -> tuple[float, float, float] | None:
    """The new value over the old, and the ends of its interval; None where that cannot be told.

    The interval is that of the difference, as a share of the old median. Nothing that is measured is less
    than 0, so neither is a ratio.
    """
    if change.relative is None or change.relative_interval is None:
        return None
    low, high = change.relative_interval
    return 1 + change.relative, max(1 + low, 0.0), max(1 + high, 0.0)


def _claim(name: str, change: Change | None, limit: Limit, comparison: Comparison) -> Finding:
    sides = f"{comparison.new.name} / {comparison.old.name}"
    told = ratio(change) if change is not None else None
    if told is None:
        text = f"{sides} cannot be told: it was not measured on both; claimed is {limit}"
        return Finding(check=name, ruling=Ruling.INCONCLUSIVE, text=text)
    value, low, high = told
    text = f"{sides} is {value:.3g} (90 %: {low:.3g} to {high:.3g}), claimed is {limit}"
    if limit.allows(low) and limit.allows(high):
        return Finding(check=name, ruling=Ruling.PASS, text=f"{text}: confirmed")
    if not _overlaps(limit, low, high):
        return Finding(check=name, ruling=Ruling.FAIL, text=f"{text}: refuted")
    return Finding(check=name, ruling=Ruling.INCONCLUSIVE, text=f"{text}: more runs are needed")


def _overlaps(limit: Limit, low: float, high: float) -> bool:
    above = limit.at_least is None or high >= limit.at_least
    return above and (limit.at_most is None or low <= limit.at_most)
