"""One number of one run."""

from __future__ import annotations

from enum import StrEnum

from pdtest.results.frozen import Frozen


class Better(StrEnum):
    """Which way an improvement goes."""

    LOWER = "lower"
    HIGHER = "higher"
    #: Told, never judged.
    NEITHER = "neither"


class Measure(Frozen):
    """Defined in docs/metrics.md under its name.

    ``unit``: ``s``, ``tokens/s``, ``requests/s``, ``1`` (a share), ``J``, ``J/token``, ``tokens/J``,
    ``W``, ``bytes`` ... ``value`` is None where it could not be measured; ``why`` then says why.
    ``samples``: how many it was made of.
    """

    name: str
    value: float | None
    unit: str
    better: Better = Better.NEITHER
    samples: int | None = None
    why: str | None = None
