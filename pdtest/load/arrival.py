"""When requests arrive. Seconds from the first one, in order."""

from __future__ import annotations

import itertools
import math
import random

from pdtest.environment.arrivals import Arrivals, Burst, Constant, Gamma, Poisson, Ramp


def evenly(count: int, over_s: float) -> tuple[float, ...]:
    """At a steady pace, the first at 0 and so the last a step before ``over_s``."""
    return tuple(over_s * number / count for number in range(count))


def at_random(count: int, over_s: float, *, seed: int) -> tuple[float, ...]:
    """As of independent users: a Poisson process that is known to bring ``count`` in ``over_s``.

    Those are ``count`` instants drawn independently. They are stretched so that first and last are where
    `evenly` has them: the rate is then the same in every run, and only the gaps differ.
    """
    dice = _dice(seed)
    return _stretched(sorted(dice.random() for _ in range(count)), over_s)


def in_clusters(count: int, over_s: float, *, burstiness: float, seed: int) -> tuple[float, ...]:
    """With gaps of a gamma distribution of the shape ``burstiness``; stretched as `at_random` is.

    vLLM 0.32's benchmark draws and stretches its gaps so, too (benchmarks/serve.py, get_request).
    """
    dice = _dice(seed)
    gaps = (dice.gammavariate(burstiness, 1 / burstiness) for _ in range(count - 1))
    return _stretched(list(itertools.accumulate(gaps, initial=0.0)), over_s)


def due_times(
    arrivals: Arrivals, *, requests: int | None, duration_s: float | None, seed: int
) -> tuple[float, ...] | None:
    """When each request is to be sent; None where answers decide (closed) or a file does (replay).

    ``requests`` or ``duration_s`` may be None, not both; with both, what is reached first counts. A rate
    has the same number of requests in a span whatever the seed.
    """
    match arrivals:
        case Constant(rate=rate):
            count = _count(rate, requests, duration_s)
            return evenly(count, count / rate)
        case Poisson(rate=rate):
            count = _count(rate, requests, duration_s)
            return at_random(count, count / rate, seed=seed)
        case Gamma(rate=rate, burstiness=burstiness):
            count = _count(rate, requests, duration_s)
            return in_clusters(count, count / rate, burstiness=burstiness, seed=seed)
        case Burst():
            return _bursts(arrivals, requests, duration_s)
        case Ramp():
            return _ramp(arrivals, requests, duration_s, seed)
        case _:
            return None


def _bursts(burst: Burst, requests: int | None, duration_s: float | None) -> tuple[float, ...]:
    bursts = math.inf if duration_s is None else math.ceil(duration_s / burst.every_s)
    count = int(min(bursts * burst.size, math.inf if requests is None else requests))
    return tuple(number // burst.size * burst.every_s for number in range(count))


def _ramp(ramp: Ramp, requests: int | None, duration_s: float | None, seed: int) -> tuple[float, ...]:
    mean = (ramp.from_rate + ramp.to_rate) / 2
    whole = _count(mean, None, duration_s) if duration_s is not None else requests or 1
    over_s = duration_s if duration_s is not None else whole / mean
    # How many have come by a time is a parabola; they come where it reaches these counts.
    counts = at_random(whole, whole, seed=seed) if ramp.random else evenly(whole, whole)
    return tuple(_reached(number, ramp, over_s) for number in counts)[:requests]


def _reached(number: float, ramp: Ramp, duration_s: float) -> float:
    """When ``from t + (to - from) t² / 2T`` is ``number``; in the form that also holds for a flat ramp."""
    slope = (ramp.to_rate - ramp.from_rate) / duration_s
    root = math.sqrt(max(ramp.from_rate**2 + 2 * slope * number, 0.0))
    return 2 * number / (ramp.from_rate + root) if number else 0.0


def _count(rate: float, requests: int | None, duration_s: float | None) -> int:
    in_time = math.inf if duration_s is None else max(round(rate * duration_s), 1)
    return int(min(in_time, math.inf if requests is None else requests))


def _stretched(instants: list[float], over_s: float) -> tuple[float, ...]:
    count = len(instants)
    first, span = instants[0], instants[-1] - instants[0]
    last_s = over_s * (count - 1) / count
    return tuple(last_s * (instant - first) / span if span else 0.0 for instant in instants)


def _dice(seed: int) -> random.Random:
    return random.Random(f"arrivals:{seed}")  # noqa: S311 - reproducible on purpose
