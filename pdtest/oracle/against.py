"""Runs held against a baseline, as findings to rule on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pdtest.compare import Baselines, Comparison, Verdict, compare
from pdtest.compare.series import series_of
from pdtest.environment.compare import Compare
from pdtest.oracle.verdict import Finding, Ruling
from pdtest.results import Result
from pdtest.results.amount import counted

_RULINGS: Final = {
    Verdict.PASS: Ruling.PASS,
    Verdict.IMPROVED: Ruling.PASS,
    Verdict.FAIL: Ruling.FAIL,
    Verdict.INCONCLUSIVE: Ruling.INCONCLUSIVE,
    Verdict.INVALID: Ruling.INCONCLUSIVE,
}


def against(name: str, results: Sequence[Result], kept: Baselines, settings: Compare) -> Comparison | None:
    """The runs of one load, held against the baseline of this name; None where there is none of that load.

    Where there is one of other conditions only, the comparison is with that one, and says what differs.
    Raises BaselineUnreadable and MissingExtra.
    """
    found = kept.find(name, results[0].fingerprint) or kept.alike(name, series_of(results[0]))
    if found is None:
        return None
    return compare(found.results, results, settings, names=(name, results[0].run))


def comparison_findings(comparison: Comparison | None, name: str) -> list[Finding]:
    """One for each measure that was judged; improvements pass."""
    if comparison is None:
        text = f"there is no '{name}' of this load; keep one with --baseline save:{name}"
        return [Finding(check="baseline", ruling=Ruling.INCONCLUSIVE, text=text)]
    ruled = [
        Finding(check=change.measure, ruling=_RULINGS[change.verdict], text=f"{change.verdict}: {change.why}")
        for change in comparison.changes
        if change.verdict is not None
    ]
    if comparison.differs:
        # A verdict would be the conditions' as much as the build's.
        text = "; ".join(f"{what} was {old}, is {new}" for what, old, new in comparison.differs)
        return [Finding(check="conditions", ruling=Ruling.INCONCLUSIVE, text=text)]
    return ruled or [Finding(check="baseline", ruling=Ruling.INCONCLUSIVE, text=comparison.why)]


def keep(name: str, results: Sequence[Result], kept: Baselines, *, add: bool = False) -> list[Finding]:
    """Save the runs as a baseline; ``add``: beside what it has. Raises BadName, BaselineUnreadable."""
    saved = kept.save(name, results, add=add)
    if not saved:
        text = "nothing to keep: all runs were bound by their client"
        return [Finding(check="baseline", ruling=Ruling.INCONCLUSIVE, text=text)]
    count = sum(len(baseline.results) for baseline in saved)
    return [Finding(check="baseline", ruling=Ruling.PASS, text=f"'{name}' has {counted(count, 'run')}")]
