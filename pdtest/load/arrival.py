"""When requests arrive. Seconds from the first one, in order."""

from __future__ import annotations

import random


def evenly(count: int, over_s: float) -> tuple[float, ...]:
    """At a steady pace, the first at 0 and so the last a step before ``over_s``."""
    return tuple(over_s * number / count for number in range(count))


def at_random(count: int, over_s: float, *, seed: int) -> tuple[float, ...]:
    """As of independent users: a Poisson process that is known to bring ``count`` in ``over_s``.

    Those are ``count`` instants drawn independently. They are stretched so that first and last are where
    `evenly` has them: the rate is then the same in every run, and only the gaps differ.
    """
    dice = random.Random(f"arrivals:{seed}")  # noqa: S311 - reproducible on purpose
    drawn = sorted(dice.random() for _ in range(count))
    first, span = drawn[0], drawn[-1] - drawn[0]
    last_s = over_s * (count - 1) / count
    return tuple(last_s * (instant - first) / span if span else 0.0 for instant in drawn)
