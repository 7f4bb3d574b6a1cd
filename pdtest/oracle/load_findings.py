"""What must come of loads: limits of the environment, held against the runs of one load."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from pdtest.environment.performance import Limit, Limits
from pdtest.environment.schema import Thresholds
from pdtest.oracle.sweep import RateSweep, throughput
from pdtest.oracle.verdict import Finding, Ruling
from pdtest.results import Measure, Result

#: Measures of which every run must be right: what was lost in one is not made up for by the others.
EVERY_RUN: Final = frozenset({"success_rate", "kv_transfer_success_rate"})
#: How often runs of a service that is just at its limit may be called too slow.
_ALPHA: Final = 0.05
TRANSFER: Final = "kv_transfer_success_rate"
#: Measures that are made of several loads: suites that put these on look at their limits.
OF_SEVERAL: Final = frozenset({"knee_requests_per_s", "scaling_efficiency"})


def served(thresholds: Thresholds, *, apart: bool) -> Limits:
    """What is asked of every load: answers, and, where prefill and decode are ``apart``, that KV moves."""
    limits = {"success_rate": Limit(at_least=thresholds.client.success_rate)}
    if apart:
        limits[TRANSFER] = Limit(at_least=thresholds.client.kv_transfer_rate)
    return limits


def limits_of(thresholds: Thresholds, *, apart: bool) -> Limits:
    """The same, and what the environment asks of its workload."""
    own = {name: limit for name, limit in thresholds.performance.items() if name not in OF_SEVERAL}
    return served(thresholds, apart=apart) | own


def load_findings(results: Sequence[Result], limits: Mapping[str, Limit]) -> list[Finding]:
    """Runs that are bound by their client decide nothing, either way; at least one must be left.

    One that was measured again, and was valid then, leaves nothing open.
    """
    valid = [result for result in results if result.client.valid]
    told = {result.repeat for result in valid}
    bound = [
        Finding(check="client", ruling=Ruling.INCONCLUSIVE, text=bound_by_client(result))
        for result in results
        if result.repeat not in told
    ]
    if not valid:
        return bound or [Finding(check="client", ruling=Ruling.INCONCLUSIVE, text="no load was put on")]
    return [*bound, *(_held(valid, name, limit) for name, limit in limits.items())]


def bound_by_client(result: Result) -> str:
    """Why a run says nothing about the service."""
    reasons = "; ".join(result.client.reasons)
    return f"INVALID: {result.label} is bound by its client, and says nothing of the service: {reasons}"


def _held(results: Sequence[Result], name: str, limit: Limit) -> Finding:
    measures = [result.measure(name) for result in results]
    values = [one.value for one in measures if one is not None and one.value is not None]
    proof = name == TRANSFER
    if len(values) < len(results):
        text = f"{_missing(name, measures)}; {limit} is wanted"
        return Finding(check=name, ruling=Ruling.INCONCLUSIVE, text=text, proof=proof)
    unit = next(one.unit for one in measures if one is not None)
    text = f"{_shown(values, unit)}, {limit} is wanted"
    return Finding(check=name, ruling=_ruling(name, values, limit), text=text, proof=proof)


def _missing(name: str, measures: Sequence[Measure | None]) -> str:
    known = [one for one in measures if one is not None]
    if not known:
        return f"there is no measure '{name}'"
    return f"not measured: {next((one.why for one in known if one.value is None), 'it is not known why')}"


def _ruling(name: str, values: Sequence[float], limit: Limit) -> Ruling:
    broken = sum(not limit.allows(value) for value in values)
    if name in EVERY_RUN:
        return Ruling.FAIL if broken else Ruling.PASS
    if limit.allows(statistics.median(values)):
        return Ruling.PASS
    sure = broken == len(values) or by_chance(broken, len(values)) <= _ALPHA
    return Ruling.FAIL if sure else Ruling.INCONCLUSIVE


def by_chance(broken: int, runs: int) -> float:
    """How often so many runs or more break a limit that a run breaks half of the time (sign test)."""
    ways = sum(math.comb(runs, count) for count in range(broken, runs + 1))
    return float(ways / 2**runs)


def _shown(values: Sequence[float], unit: str) -> str:
    unit = "" if unit == "1" else f" {unit}"
    if len(values) == 1:
        return f"{values[0]:.4g}{unit}"
    low, high = min(values), max(values)
    return f"median {statistics.median(values):.4g}{unit} of {len(values)} runs ({low:.4g} to {high:.4g})"


def sweep_findings(
    steps: Sequence[tuple[float, Sequence[Result]]], limits: Limits, collapse: float, *, of: str
) -> Iterator[Finding]:
    """With more at once, a service is not slower than with fewer, by more than ``collapse`` allows.

    ``steps``: how many were at once, and the runs, of which each keeps to ``limits``. ``of``: what they
    are, for people.
    """
    best: tuple[float, float] | None = None
    for size, results in steps:
        yield from load_findings(results, limits)
        values = [throughput(result) for result in results if result.client.valid]
        if not values:
            continue
        now = statistics.median(values)
        if best is None or now > best[1]:
            best = size, now
        text = f"{now:.4g} tokens/s at {of} {size:g}; the best so far are {best[1]:.4g} at {best[0]:g}"
        good = now >= collapse * best[1]
        yield Finding(
            check="throughput",
            ruling=Ruling.PASS if good else Ruling.FAIL,
            text=text if good else f"{text}: below {collapse:.0%} of that, it collapses",
        )


def knee_findings(sweep: RateSweep, limit: Limit | None) -> list[Finding]:
    """The lowest rate holds, and the knee is where ``limit`` wants it.

    A knee beyond the highest rate that was tried is known from below: it is at least that.
    """
    bound = [bound_by_client(result) for _, result, holds in sweep.steps if holds is None]
    found = [Finding(check="client", ruling=Ruling.INCONCLUSIVE, text=text) for text in bound]
    knee = sweep.knee
    if knee.rate is None:
        if knee.broke is not None:
            text = f"the lowest rate, {knee.broke:g} requests/s, does not hold"
            found.append(Finding(check="knee", ruling=Ruling.FAIL, text=text))
        return found
    if knee.broke is not None:
        text = f"holds {knee.rate:.3g} requests/s, does not hold {knee.broke:.3g}"
    else:
        text = f"holds {knee.rate:.3g} requests/s, and no higher rate was tried"
    if limit is None:
        return [*found, Finding(check="knee", ruling=Ruling.PASS, text=text)]
    good = limit.allows(knee.rate)
    if not good and knee.broke is None:
        return [*found, Finding(check="knee", ruling=Ruling.INCONCLUSIVE, text=f"{text}; {limit} is wanted")]
    ruling = Ruling.PASS if good else Ruling.FAIL
    return [*found, Finding(check="knee", ruling=ruling, text=f"{text}; {limit} is wanted")]


def scaling_findings(
    results: Sequence[Result], limits: Limits, efficiency: float | None, limit: Limit | None
) -> list[Finding]:
    """Each part keeps to ``limits``, each larger one serves more, and the efficiency is within ``limit``."""
    found = [finding for result in results for finding in load_findings([result], limits)]
    valid = [result for result in results if result.client.valid]
    for fewer, more in pairwise(valid):
        text = f"{more.target} serves {throughput(more):.4g} tokens/s, {fewer.target} {throughput(fewer):.4g}"
        good = throughput(more) > throughput(fewer)
        found.append(Finding(check="scaling", ruling=Ruling.PASS if good else Ruling.FAIL, text=text))
    if limit is not None and efficiency is not None:
        text = f"{efficiency:.2f}, {limit} is wanted"
        ruling = Ruling.PASS if limit.allows(efficiency) else Ruling.FAIL
        found.append(Finding(check="scaling_efficiency", ruling=ruling, text=text))
    return found


#: Of both clients: our measure, their key, and what theirs are multiplied by.
_BOTH: Final = (
    ("output_tokens_per_s", "output_throughput", 1.0),
    ("tpot_mean", "mean_tpot_ms", 1e-3),
)


def cross_check_findings(
    before: Result, theirs: Mapping[str, Any], after: Result, share: float
) -> list[Finding]:
    """Two clients put the same load on the same service: they must see the same, within ``share``.

    ``theirs`` is what ``vllm bench serve`` wrote, between two loads of ours. Where those two are further
    apart from one another, the service or its machine is not the same from one minute to the next, and
    nothing follows.
    """
    asked = load_findings([before, after], {"success_rate": Limit(at_least=1.0)})
    count = before.measure("requests")
    wanted = 0.0 if count is None or count.value is None else count.value
    answered = Finding(
        check="vllm bench serve",
        ruling=Ruling.PASS if theirs["completed"] == wanted else Ruling.FAIL,
        text=f"{theirs['completed']} of {wanted:g} requests were answered to it",
    )
    return [*asked, answered, *_alike(before, theirs, after, share)]


def _alike(before: Result, theirs: Mapping[str, Any], after: Result, share: float) -> Iterator[Finding]:
    for name, key, factor in _BOTH:
        measures = [before.measure(name), after.measure(name)]
        ours = sorted(one.value for one in measures if one is not None and one.value)
        other = theirs[key] * factor
        if len(ours) < len(measures):
            text = "our client did not measure it"
            yield Finding(check=name, ruling=Ruling.INCONCLUSIVE, text=text)
            continue
        low, high = ours
        text = f"{low:.4g} and {high:.4g} by our client, {other:.4g} by vllm bench serve between them"
        if high > low * (1 + share):
            unsteady = f"{text}: the service is not steady"
            yield Finding(check=name, ruling=Ruling.INCONCLUSIVE, text=unsteady)
            continue
        good = low * (1 - share) <= other <= high * (1 + share)
        text = f"{text}, within {share:.0%} is wanted"
        yield Finding(check=name, ruling=Ruling.PASS if good else Ruling.FAIL, text=text)
