"""One load after another, with more and more at once: batches, users, requests per second, engines."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import gcd
from typing import Final

from pdtest.environment.arrivals import Closed, Poisson
from pdtest.environment.distributions import Fixed
from pdtest.environment.performance import Performance, Slo
from pdtest.environment.workload import Workload
from pdtest.load.lengths import lengths_of
from pdtest.metrics.goodput import is_good
from pdtest.metrics.knee import Knee, Step, knee, next_rate
from pdtest.results import Exchange, Result

#: So many requests at least make a step of a sweep of rates.
_LEAST: Final = 20
#: So many lengths tell a distribution's mean.
_MANY: Final = 1000


def batch_of(workload: Workload, size: int) -> Workload:
    """So many requests, all at once, and nothing after them."""
    return _closed(workload, size, size)


def users_of(workload: Workload, users: int, per_user: int) -> Workload:
    """A closed loop."""
    return _closed(workload, users, users * per_user)


def rate_of(workload: Workload, rate: float, step_s: float) -> Workload:
    """Independent users who bring so many requests per second."""
    requests = max(round(rate * step_s), _LEAST)
    changes = {"arrivals": Poisson(pattern="poisson", rate=rate), "requests": requests, "duration_s": None}
    return workload.model_copy(update=changes)


def even(workload: Workload) -> Workload:
    """Prompts and answers of one length each: the middle of what ``workload`` has."""
    lengths = {
        "prompt": round(statistics.fmean(lengths_of(workload.prompt, _MANY, seed=workload.seed))),
        "answer": round(statistics.fmean(lengths_of(workload.answer, _MANY, seed=workload.seed))),
    }
    return workload.model_copy(
        update={part: Fixed(shape="fixed", tokens=tokens) for part, tokens in lengths.items()}
    )


def _closed(workload: Workload, users: int, requests: int) -> Workload:
    arrivals = Closed(pattern="closed", concurrency=users)
    return workload.model_copy(update={"arrivals": arrivals, "requests": requests, "duration_s": None})


@dataclass(frozen=True, kw_only=True)
class RateSweep:
    """What was tried, lowest first, and where the knee lies. ``slo``: what made a request good."""

    steps: tuple[tuple[float, Result, bool | None], ...]
    knee: Knee
    slo: Slo


def sweep_rates(
    performance: Performance,
    workload: Workload,
    measure: Callable[[str, Workload], Result],
    exchanges: Callable[[Result], Sequence[Exchange]],
) -> RateSweep:
    """Raise the rate until the service does not hold, then look in between.

    ``measure`` puts a workload of that name on it; ``exchanges`` reads what a load left.
    """
    rates, slo = performance.rates, performance.slo
    seen: list[tuple[float, Result, bool | None]] = []
    while (rate := next_rate([Step(rate=r, holds=h) for r, _, h in seen], rates)) is not None:
        result = measure(f"rate-{rate:.3g}", rate_of(workload, rate, rates.step_s))
        if not slo.given:
            slo = slack_of(result, rates.slack)
        good = [is_good(one, slo) for one in exchanges(result)]
        holds = sum(good) >= rates.holds * len(good) if result.client.valid else None
        seen.append((rate, result, holds))
    steps = [Step(rate=rate, holds=holds) for rate, _, holds in seen]
    return RateSweep(steps=tuple(sorted(seen, key=lambda one: one[0])), knee=knee(steps), slo=slo)


def slack_of(result: Result, slack: float) -> Slo:
    """An SLO from the first step, where the service has time: so many times its medians."""
    return Slo(ttft_s=_middle(result, "ttft", slack), tpot_s=_middle(result, "tpot", slack))


def _middle(result: Result, name: str, slack: float) -> float | None:
    for statistic in ("p50", "mean"):
        measure = result.measure(f"{name}_{statistic}")
        if measure is not None and measure.value:
            return measure.value * slack
    return None


def sizes(prefills: int, decodes: int) -> Iterator[tuple[int, int]]:
    """Deployments in the same ratio, from the smallest on, each twice the last: 8p24d from 1p3d on."""
    unit = gcd(prefills, decodes)
    times = 1
    while times < unit:
        yield prefills // unit * times, decodes // unit * times
        times *= 2
    yield prefills, decodes


def scaling_efficiency(steps: Sequence[tuple[int, Result]]) -> float | None:
    """Tokens per second and engine of the last step over those of the first; None where a step has none.

    ``steps``: the number of engines, and what a load on them came to, the fewest first.
    """
    each = [(throughput(result), engines) for engines, result in steps if result.client.valid]
    if len(each) < len(steps) or not steps or not each[0][0]:
        return None
    (first, few), (last, many) = each[0], each[-1]
    return (last / many) / (first / few)


def throughput(result: Result) -> float:
    """Output tokens per second of a load; 0.0 where nothing was answered."""
    measure = result.measure("output_tokens_per_s")
    return (measure.value or 0.0) if measure is not None else 0.0
