"""How a comparison ends."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final


class Verdict(StrEnum):
    """Of one measure, or of all of them."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    IMPROVED = "improved"
    #: It cannot be told: too few runs, too much noise, a value that is missing.
    INCONCLUSIVE = "inconclusive"
    #: The runs say nothing about the server: their client was the bottleneck.
    INVALID = "invalid"


#: Of several verdicts the first of these that occurs is that of all.
WORST_FIRST: Final = (Verdict.INVALID, Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.IMPROVED, Verdict.PASS)


def of_all(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict of all; INCONCLUSIVE of none."""
    found = set(verdicts)
    return next((verdict for verdict in WORST_FIRST if verdict in found), Verdict.INCONCLUSIVE)
