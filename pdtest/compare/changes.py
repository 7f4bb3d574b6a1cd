"""Measure by measure: what changed from the old runs to the new ones, and whether that is more than noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median
from typing import Final

from pdtest.compare.comparison import Change
from pdtest.compare.tolerances import tolerated
from pdtest.compare.verdict import WORST_FIRST, Verdict
from pdtest.environment.compare import Compare
from pdtest.errors import MissingExtra
from pdtest.results import Better, Measure, Result
from pdtest.results.amount import amount, percent

#: PASS says that it did not get worse by more than so many times what is tolerated.
EXCLUDED: Final = 2.0


def changes(old: Sequence[Result], new: Sequence[Result], settings: Compare) -> tuple[Change, ...]:
    """The judged ones first, the worst first. Measures without a value in any run are left out.

    Raises MissingExtra.
    """
    try:
        from pdtest.compare.evidence import correct, smallest_chance
    except ModuleNotFoundError as error:
        raise MissingExtra("numpy", "compare", "comparing runs") from error

    seen = [*_seen(old, new, settings)]
    judged = [change for change in seen if change.judged and change.difference is not None]
    # Where all values are the same, nothing can be found whatever the labels: no false alarm to pay for
    # (R. E. Tarone, Biometrics 46, 1990).
    family = [change for change in judged if len({*change.old, *change.new}) > 1]
    worse = correct([change.p_worse or 0.0 for change in family])
    better = correct([change.p_better or 0.0 for change in family])
    corrected = {
        change.measure: change.model_copy(update={"p_worse": p_worse, "p_better": p_better})
        for change, p_worse, p_better in zip(family, worse, better, strict=True)
    }
    ruled = {
        change.measure: _ruled(
            corrected.get(change.measure, change),
            settings.alpha,
            clearest=smallest_chance(len(change.old), len(change.new)) * max(len(family), 1),
        )
        for change in judged
    }
    return tuple(sorted((ruled.get(change.measure, change) for change in seen), key=_rank))


def worse_by(change: Change) -> float:
    """Its difference in the direction that is for the worse, in the measure's unit; negative: better."""
    return _sign(change) * (change.difference or 0.0)


def allowed(change: Change) -> float:
    """How much worse it may get, in the measure's unit: the tolerance or the floor, what is more."""
    return max(change.tolerance * abs(change.old_middle or 0.0), change.floor)


def _seen(old: Sequence[Result], new: Sequence[Result], settings: Compare) -> Iterator[Change]:
    measures = {measure.name: measure for result in (*new, *old) for measure in result.measures}
    for name, measure in measures.items():
        before, after = _values(old, name), _values(new, name)
        if before or after:
            change = _described(measure, before, after, settings)
            yield change.model_copy(update={"sessions": _between_sessions(old, new, name)})


def _values(results: Sequence[Result], name: str) -> tuple[float, ...]:
    found = (result.measure(name) for result in results)
    return tuple(measure.value for measure in found if measure and measure.value is not None)


def _between_sessions(old: Sequence[Result], new: Sequence[Result], name: str) -> tuple[float, float] | None:
    """Of sessions with two runs or more: with one, what it is off by is in the noise of the runs already."""
    before, after = _by_session(old, name), _by_session(new, name)
    if len(before) * len(after) < 2:  # noqa: PLR2004 - a side with two sessions
        return None
    apart = [median(later) - median(earlier) for earlier in before for later in after]
    return min(apart), max(apart)


def _by_session(results: Sequence[Result], name: str) -> list[tuple[float, ...]]:
    runs = dict.fromkeys(result.run for result in results)
    found = [_values([result for result in results if result.run == run], name) for run in runs]
    return [values for values in found if len(values) > 1]


def _described(measure: Measure, old: tuple[float, ...], new: tuple[float, ...], settings: Compare) -> Change:
    """As it was seen; without a verdict, except where there is nothing to compare."""
    limit = tolerated(measure, settings)
    judged = measure.better is not Better.NEITHER and settings.is_judged(measure.name)
    change = Change(
        measure=measure.name,
        unit=measure.unit,
        better=measure.better,
        judged=judged,
        old=old,
        new=new,
        old_middle=median(old) if old else None,
        new_middle=median(new) if new else None,
        tolerance=limit.share,
        floor=limit.floor,
    )
    if old and new:
        return _weighed(change)
    why = f"measured in the {'old' if old else 'new'} runs only"
    return change.model_copy(update={"verdict": Verdict.INCONCLUSIVE if judged else None, "why": why})


def _weighed(change: Change) -> Change:
    from pdtest.compare.evidence import weigh

    evidence = weigh(change.old, change.new)
    base = abs(change.old_middle or 0.0)
    # One value a side has no noise in it to tell.
    between = evidence.interval if min(len(change.old), len(change.new)) > 1 else None
    rising = _sign(change) > 0
    return change.model_copy(
        update={
            "difference": evidence.shift,
            "interval": between,
            "relative": evidence.shift / base if base else None,
            "relative_interval": tuple(end / base for end in between) if between and base else None,
            "p_worse": evidence.higher if rising else evidence.lower,
            "p_better": evidence.lower if rising else evidence.higher,
        }
    )


def _ruled(change: Change, alpha: float, *, clearest: float) -> Change:
    """With its verdict. ``clearest``: the corrected p-value of the clearest outcome so few runs can have."""
    limit, worse = allowed(change), worse_by(change)
    p_worse, p_better = change.p_worse or 0.0, change.p_better or 0.0
    worst = max((_sign(change) * end for end in change.interval or ()), default=0.0)
    # The sessions that are nearest to each other must differ, too.
    nearest = [_sign(change) * end for end in change.sessions or (change.difference or 0.0,)]
    if p_worse <= alpha and worse > limit and min(nearest) <= limit:
        verdict, why = Verdict.INCONCLUSIVE, "worse, but not against every session"
    elif p_worse <= alpha and worse > limit:
        verdict, why = Verdict.FAIL, f"{_amount(change, worse)} worse, p {p_worse:.2g}"
    elif p_better <= alpha and -worse > limit and -max(nearest) > limit:
        verdict, why = Verdict.IMPROVED, f"{_amount(change, -worse)} better, p {p_better:.2g}"
    elif clearest > alpha:
        verdict, why = Verdict.INCONCLUSIVE, f"too few runs: {len(change.old)} and {len(change.new)}"
    elif worst > EXCLUDED * limit:
        verdict, why = Verdict.INCONCLUSIVE, f"may be {_amount(change, worst)} worse: noise"
    else:
        verdict, why = Verdict.PASS, f"at most {_amount(change, max(worst, 0.0))} worse"
    return change.model_copy(update={"verdict": verdict, "why": why})


def _amount(change: Change, difference: float) -> str:
    """A difference as a share where shares are what counts, else in the measure's unit."""
    if change.old_middle and change.tolerance:
        return percent(difference / abs(change.old_middle))
    return amount(difference, change.unit)


def _sign(change: Change) -> int:
    """+1 where a rise is for the worse."""
    return -1 if change.better is Better.HIGHER else 1


def _rank(change: Change) -> tuple[bool, int]:
    place = WORST_FIRST.index(change.verdict) if change.verdict else len(WORST_FIRST)
    return not change.judged, place
