"""The kill table: what became of each mutant in each suite."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from pdtest.kills.mutant import Mutant, Place


class Outcome(StrEnum):
    """Of a mutant in a suite."""

    KILLED = "killed"
    SURVIVED = "survived"
    #: The suite's tests could not decide, which is not enough.
    OPEN = "inconclusive"
    #: Its tests could not be run.
    BROKEN = "broken"
    #: The suite cannot notice it, or the environment cannot have it.
    UNSEEN = "-"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """``test`` noticed it after ``seconds``; ``located`` is what it said. For `UNSEEN`: why."""

    outcome: Outcome
    test: str = ""
    seconds: float = 0.0
    located: str = ""


@dataclass
class KillTable:
    """Filled while tests run."""

    environment: str
    mutants: Sequence[Mutant]
    suites: Sequence[str]
    #: By mutant and suite.
    cells: dict[tuple[str, str], Cell] = field(default_factory=dict)
    #: Tests that failed, or could not decide, with no bug planted.
    false_alarms: list[str] = field(default_factory=list)
    #: Mutants that the environment cannot have, and why.
    absent: dict[str, str] = field(default_factory=dict)
    took_s: float = 0.0

    @classmethod
    def of_json(cls, data: Mapping[str, Any]) -> KillTable:
        """What `as_json` gave, but for how its mutants are planted. Raises KeyError on anything else."""
        table = cls(
            environment=data["environment"],
            mutants=[_mutant(row) for row in data["mutants"]],
            suites=data["suites"],
            false_alarms=list(data["false_alarms"]),
            absent=dict(data["absent"]),
            took_s=data["took_s"],
        )
        for row in data["mutants"]:
            for suite, cell in row["suites"].items():
                known = {**cell, "outcome": Outcome(cell["outcome"])}
                table.cells[row["name"], suite] = Cell(**known)
        return table

    def cell(self, mutant: Mutant, suite: str) -> Cell:
        """A suite that was not run on it has not noticed it."""
        if suite in mutant.unseen:
            return Cell(outcome=Outcome.UNSEEN, located=mutant.unseen[suite])
        return self.cells.get((mutant.name, suite), Cell(outcome=Outcome.BROKEN, located="no test was run"))

    def rows(self) -> Iterator[tuple[Mutant, dict[str, Cell]]]:
        """Each mutant with its cells by suite."""
        for mutant in self.mutants:
            yield mutant, {suite: self.cell(mutant, suite) for suite in self.suites}

    @property
    def survivors(self) -> tuple[Mutant, ...]:
        """Those that some suite should have noticed and did not."""
        fine = {Outcome.KILLED, Outcome.UNSEEN}
        return tuple(
            mutant
            for mutant, cells in self.rows()
            if not all(cell.outcome in fine for cell in cells.values())
            or not any(cell.outcome is Outcome.KILLED for cell in cells.values())
        )

    @property
    def clean(self) -> bool:
        """Every mutant was noticed, and nothing else."""
        return not self.survivors and not self.false_alarms

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "environment": self.environment,
            "took_s": round(self.took_s, 1),
            "suites": list(self.suites),
            "killed": len(self.mutants) - len(self.survivors),
            "survivors": [mutant.name for mutant in self.survivors],
            "false_alarms": self.false_alarms,
            "absent": self.absent,
            "mutants": [
                {
                    "name": mutant.name,
                    "place": mutant.place,
                    "bugs": list(mutant.bugs),
                    "does": mutant.does,
                    "suites": {suite: asdict(cell) for suite, cell in cells.items()},
                }
                for mutant, cells in self.rows()
            ],
        }


def _mutant(row: Mapping[str, Any]) -> Mutant:
    blind = {
        suite: cell["located"]
        for suite, cell in row["suites"].items()
        if Outcome(cell["outcome"]) is Outcome.UNSEEN
    }
    return Mutant(
        name=row["name"],
        place=Place(row["place"]),
        bugs=tuple(row["bugs"]),
        does=row["does"],
        switch="",
        unseen=blind,
    )
