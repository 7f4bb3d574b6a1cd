"""How much worse a measure may get before anybody minds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pdtest.environment.compare import Compare
from pdtest.results import Measure


@dataclass(frozen=True, kw_only=True)
class Tolerated:
    """``share`` of the old value, and ``floor`` in the measure's unit: a change must be beyond both."""

    share: float
    floor: float

    def allows(self, middle: float) -> float:
        """The greatest change for the worse that is nothing, where the old value is ``middle``."""
        return max(self.share * abs(middle), self.floor)


#: Shares of a whole are judged by points: from 100 % to 98.9 % is too much, whatever share of 100 % that is.
_BY_UNIT: Final[Mapping[str, Tolerated]] = {
    "s": Tolerated(share=0.1, floor=0.0005),
    "1": Tolerated(share=0.0, floor=0.01),
    "requests/s": Tolerated(share=0.1, floor=0.05),
    "tokens/s": Tolerated(share=0.1, floor=1.0),
    "J": Tolerated(share=0.1, floor=0.5),
    "J/token": Tolerated(share=0.1, floor=0.001),
    "tokens/J": Tolerated(share=0.1, floor=0.01),
    "W": Tolerated(share=0.1, floor=2.0),
}
_OTHERS: Final = Tolerated(share=0.1, floor=0.0)


def tolerated(measure: Measure, settings: Compare) -> Tolerated:
    """What the environment says of it, and the default of its unit where that says nothing."""
    default = _BY_UNIT.get(measure.unit, _OTHERS)
    said = settings.tolerance(measure.name)
    return Tolerated(
        share=default.share if said.share is None else said.share,
        floor=default.floor if said.floor is None else said.floor,
    )
