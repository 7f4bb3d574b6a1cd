"""Holding the runs of a new build against those of an old one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pdtest.compare.changes import changes
from pdtest.compare.comparison import Change, Comparison, Side
from pdtest.compare.fingerprint import differences
from pdtest.compare.series import series_of
from pdtest.compare.verdict import Verdict, of_all
from pdtest.environment.compare import Compare
from pdtest.results import Result
from pdtest.results.amount import counted

_DEFAULT: Final = Compare()


def compare(
    old: Sequence[Result],
    new: Sequence[Result],
    settings: Compare = _DEFAULT,
    *,
    names: tuple[str, str] = ("old", "new"),
    same_conditions: bool = True,
) -> Comparison:
    """Each Result is one run: repeats of one load on one target, old and new; at least one each.

    ``names`` are shown. ``same_conditions`` False lets fingerprints differ, as where two targets of one
    environment (single, pd) are compared. INVALID runs are left out and counted. Raises MissingExtra.
    """
    sides = _side(names[0], old), _side(names[1], new)
    before, after = _valid(old), _valid(new)
    changed = changes(before, after, settings) if before and after else ()
    differs = differences(old[0], new[0]) if same_conditions else ()
    verdict, why = _conclude(sides, changed, different=bool(differs))
    series = series_of(new[0])
    return Comparison(
        environment=series.environment,
        target=series.target,
        workload=series.workload,
        old=sides[0],
        new=sides[1],
        verdict=verdict,
        why=why,
        alpha=settings.alpha,
        changes=changed,
        differs=differs,
    )


def _valid(results: Sequence[Result]) -> list[Result]:
    return [result for result in results if result.client.valid]


def _side(name: str, results: Sequence[Result]) -> Side:
    invalid = [result for result in results if not result.client.valid]
    return Side(
        name=name,
        fingerprint=results[0].fingerprint,
        runs=len(results) - len(invalid),
        sessions=len({result.run for result in results}),
        invalid=len(invalid),
        reasons=tuple(dict.fromkeys(reason for result in invalid for reason in result.client.reasons)),
        build=results[0].build,
    )


def _conclude(sides: tuple[Side, Side], changed: Sequence[Change], *, different: bool) -> tuple[Verdict, str]:
    for side in sides:
        if not side.runs:
            return Verdict.INVALID, f"all runs of {side.name} were bound by their client"
    if different:
        return Verdict.INCONCLUSIVE, "other conditions: a difference need not be the build's"
    ruled = [change for change in changed if change.verdict is not None]
    if not ruled:
        return Verdict.INCONCLUSIVE, "no measure that is judged was measured"
    verdict = of_all(change.verdict for change in ruled if change.verdict is not None)
    decisive = [change for change in ruled if change.verdict is verdict]
    if verdict is Verdict.PASS:
        return verdict, f"{counted(len(ruled), 'measure')} held"
    reasons = {change.why for change in decisive}
    # Too few runs are so for all: said once.
    return verdict, reasons.pop() if len(reasons) == 1 < len(decisive) else ", ".join(
        change.measure for change in decisive
    )
