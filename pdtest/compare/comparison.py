"""What came of holding the runs of a new build against those of an old one: data, for tables and files."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pdtest.compare.verdict import Verdict
from pdtest.results import Better
from pdtest.results.frozen import Frozen


class Side(Frozen):
    """The runs of one build. ``name``: of the baseline, or of the run. ``runs``: those that were judged.

    ``invalid``: how many were left out, bound by their client; ``reasons`` of theirs, each once.
    ``sessions``: in how many invocations they were measured. ``build``: versions of what was measured.
    """

    name: str
    fingerprint: str
    runs: int
    sessions: int = 1
    invalid: int = 0
    reasons: tuple[str, ...] = ()
    build: dict[str, str] = Field(default_factory=dict)


class Change(Frozen):
    """One measure in the old runs and in the new ones.

    ``old`` and ``new``: its value in each run. ``old_middle``, ``new_middle``: medians. ``difference``:
    the median of all differences of a new run and an old one, in the measure's unit; ``interval`` holds
    the true one in 90 of 100 comparisons (bootstrap), None with one run a side. ``relative``,
    ``relative_interval``: the same as shares of the old median; None where that is 0. ``verdict``: None
    where it is only shown. ``p_worse``, ``p_better``: chances of such ranks, or clearer ones, by noise
    alone, corrected for the number of measures where it is ``judged``. ``tolerance``: a share of the old
    median; ``floor``: in the measure's unit. ``sessions``: the smallest and the largest difference of a new
    session and an old one, where a side has several; what one session is off by is no build's doing.
    ``why``: one line.
    """

    measure: str
    unit: str
    better: Better
    judged: bool
    verdict: Verdict | None = None
    why: str = ""
    old: tuple[float, ...]
    new: tuple[float, ...]
    old_middle: float | None = None
    new_middle: float | None = None
    difference: float | None = None
    interval: tuple[float, float] | None = None
    relative: float | None = None
    relative_interval: tuple[float, float] | None = None
    p_worse: float | None = None
    p_better: float | None = None
    sessions: tuple[float, float] | None = None
    tolerance: float = 0.0
    floor: float = 0.0


class Comparison(Frozen):
    """Old against new, of one environment, target and workload.

    ``differs``: conditions that are not the same on both sides, as ``(what, old, new)``; with any of them
    the verdict is INCONCLUSIVE, since it would be theirs as much as the build's. ``changes``: the judged
    ones first, the worst first.
    """

    version: Literal[1] = 1
    environment: str
    target: str
    workload: str
    old: Side
    new: Side
    verdict: Verdict
    why: str
    alpha: float
    changes: tuple[Change, ...] = ()
    differs: tuple[tuple[str, str, str], ...] = ()
