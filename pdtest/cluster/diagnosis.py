"""Finds the known failure behind a log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pdtest.services.service import Diagnosis


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A diagnosis and the line that gave it away."""

    diagnosis: Diagnosis
    line: str

    @property
    def text(self) -> str:
        """For one field of an event: what happened and what to do."""
        return f"{self.diagnosis.name}: {self.diagnosis.meaning} {self.diagnosis.remedy}"


def diagnose(lines: Sequence[str], diagnoses: Iterable[Diagnosis]) -> Finding | None:
    """The known failure that shows last in ``lines``.

    Last, because programs log many setbacks that they recover from, and end on the one that they
    do not. On one line, the service's order decides.
    """
    known = tuple(diagnoses)
    for line in reversed(lines):
        for diagnosis in known:
            if diagnosis.pattern.search(line):
                return Finding(diagnosis=diagnosis, line=line)
    return None
