"""What topologies of the same hardware gain over one another: data, for tables, pictures and files."""

from __future__ import annotations

from typing import Final, Literal

from pdtest.compare.comparison import Change, Comparison
from pdtest.results.frozen import Frozen

#: Beside the loads of an environment.
FILE: Final = "topologies.json"


class Claimed(Frozen):
    """A claim of a topology against the first. ``ruling``: pass, fail or inconclusive; ``text`` in words."""

    topology: str
    measure: str
    ruling: str
    text: str


class Gains(Frozen):
    """Topologies of one environment under one workload.

    ``measures``: names in the order in which they are shown. ``hardware``: what each computes on, by
    name, the first first. ``unequal``: why nothing follows from a gain; empty where the hardware is the
    same. ``comparisons``: of each pair, `old` is the one that is named first; empty with no valid run.
    """

    version: Literal[1] = 1
    environment: str
    workload: str
    measures: tuple[str, ...]
    hardware: dict[str, str]
    unequal: str = ""
    comparisons: tuple[Comparison, ...] = ()
    claims: tuple[Claimed, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Of the topologies."""
        return tuple(self.hardware)

    def change(self, comparison: Comparison, measure: str) -> Change | None:
        """A measure of a pair; None where neither has it."""
        return next((one for one in comparison.changes if one.measure == measure), None)

    def runs(self, topology: str, measure: str) -> tuple[float, ...]:
        """The measure in each of its runs."""
        for comparison in self.comparisons:
            change = self.change(comparison, measure)
            if change is not None and topology in {comparison.old.name, comparison.new.name}:
                return change.old if comparison.old.name == topology else change.new
        return ()

    def unit(self, measure: str) -> str:
        """Of a measure; empty where nobody has it."""
        found = (self.change(comparison, measure) for comparison in self.comparisons)
        return next((one.unit for one in found if one is not None), "")
