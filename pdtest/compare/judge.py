"""Holding the runs of a new build against those of an old one."""

from __future__ import annotations

from collections.abc import Sequence

from pdtest.compare.comparison import Comparison
from pdtest.environment.compare import Compare
from pdtest.results import Result


def compare(
    old: Sequence[Result],
    new: Sequence[Result],
    settings: Compare = Compare(),  # noqa: B008 - frozen
    *,
    names: tuple[str, str] = ("old", "new"),
    same_conditions: bool = True,
) -> Comparison:
    """Each Result is one run: repeats of one load on one target, old and new.

    ``names`` are shown. ``same_conditions`` False lets fingerprints differ, as where two targets of one
    environment (single, pd) are compared. INVALID runs are left out and counted.
    """
    raise NotImplementedError
