"""When the measures of two builds count as different."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Final

from pydantic import Field

from pdtest.environment.strict import Strict

#: What a verdict is made of where an environment does not say: what users feel, what operators pay.
#: Not more than 12: with 5 runs a side a rank test cannot tell more measures apart (docs/comparison.md).
HEADLINE: Final = (
    "success_rate",
    "kv_transfer_success_rate",
    "ttft_p50",
    "ttft_p90",
    "ttft_p99",
    "tbt_p50",
    "tbt_p99",
    "e2e_p50",
    "e2e_p99",
    "output_tokens_per_s",
    "goodput",
    "energy_per_token",
)


class Tolerance(Strict):
    """How much worse a measure may get. What is not given is the default of the measure's unit."""

    share: float | None = Field(
        default=None, ge=0, description="of the old value: 0.1 lets it get 10 % worse"
    )
    floor: float | None = Field(
        default=None, ge=0, description="in the measure's unit: changes up to this matter to nobody"
    )


class Compare(Strict):
    """How runs are held against those of another build."""

    alpha: float = Field(
        default=0.05,
        gt=0,
        lt=0.5,
        description="how often equal builds may be called different, over all measures together",
    )
    judged: tuple[str, ...] = Field(
        default=HEADLINE,
        strict=False,
        min_length=1,
        description="measures that verdicts are made of, by name or pattern; the others are only shown",
    )
    tolerances: dict[str, Tolerance] = Field(
        default_factory=dict, description="by measure, name or pattern; a full name wins, then the first"
    )

    def is_judged(self, measure: str) -> bool:
        """Whether it decides anything."""
        return any(fnmatchcase(measure, pattern) for pattern in self.judged)

    def tolerance(self, measure: str) -> Tolerance:
        """What the environment says of a measure; an empty one where it says nothing."""
        if measure in self.tolerances:
            return self.tolerances[measure]
        found = (each for pattern, each in self.tolerances.items() if fnmatchcase(measure, pattern))
        return next(found, Tolerance())
