"""Where the time of requests went: queue, prefill, transfer, decode."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pdtest.environment.schema import Role
from pdtest.metrics.rises import Rises
from pdtest.results import Better, Exchange, Measure
from pdtest.wire.contract import Contract, Order
from pdtest.wire.evidence import Counter

PHASES: Final = ("queue", "prefill", "transfer", "decode")


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """A duration that engines observe once for each request: vLLM 0.32, v1/metrics/stats.py.

    Queue is from QUEUED to the first SCHEDULED. A request that waits for remote KV is not scheduled yet,
    so on decode it is the wait for the transfer. Prefill is from there to the first token, decode from the
    first token to the last.
    """

    name: str
    role: Role

    @property
    def total(self) -> Counter:
        """Seconds."""
        return Counter(name=f"{self.name}_sum", role=self.role, unit="s", meaning="seconds in this phase")

    @property
    def count(self) -> Counter:
        """Requests."""
        return Counter(name=f"{self.name}_count", role=self.role, unit="requests", meaning="requests")


def _histograms(role: Role, *kinds: str) -> tuple[Histogram, ...]:
    return tuple(Histogram(name=f"vllm:request_{kind}_time_seconds", role=role) for kind in kinds)


#: What a phase is made of, added up, where prefill and decode are apart ...
_APART: Final[Mapping[str, tuple[Histogram, ...]]] = {
    "queue": _histograms(Role.PREFILL, "queue"),
    "prefill": _histograms(Role.PREFILL, "prefill"),
    "transfer": _histograms(Role.DECODE, "queue"),
    # Decode's own first step computes the last prompt token at most.
    "decode": _histograms(Role.DECODE, "prefill", "decode"),
}
#: ... and where one instance does both: nothing is transferred.
_TOGETHER: Final[Mapping[str, tuple[Histogram, ...]]] = {
    phase: _histograms(Role.COLOCATED, phase) for phase in ("queue", "prefill", "decode")
}


def phase_measures(
    answered: Sequence[Exchange], rises: Rises | None, contract: Contract | None
) -> Iterator[Measure]:
    """``phase_<phase>_mean`` and ``phase_<phase>_share``, which add up to 1 over the phases that are known.

    From the exchanges where every answered one has its phases, else from the servers' counters.
    ``contract``: what prefill and decode speak; None where one instance does both.
    """
    told = _of_exchanges(answered) or _of_servers(rises, contract)
    absent = "nothing is transferred" if contract is None else "nobody told of it"
    known = {phase: value for phase, value in told.items() if isinstance(value, float)}
    whole = sum(known.values())
    for phase in PHASES:
        value = told.get(phase, absent)
        why = value if isinstance(value, str) else None
        mean = None if isinstance(value, str) else value
        yield Measure(
            name=f"phase_{phase}_mean",
            value=mean,
            unit="s",
            better=Better.LOWER,
            samples=len(answered),
            why=why,
        )
        share = None if mean is None or not whole else mean / whole
        nothing = why or (None if whole else "no phase took any time")
        yield Measure(name=f"phase_{phase}_share", value=share, unit="1", samples=len(answered), why=nothing)


def _of_exchanges(answered: Sequence[Exchange]) -> dict[str, float | str]:
    """Means of the phases that every exchange has; none where some exchange has none."""
    if not answered or not all(one.phases for one in answered):
        return {}
    named = set.intersection(*(set(one.phases) for one in answered))
    return {phase: sum(one.phases[phase] for one in answered) / len(answered) for phase in named}


def _of_servers(rises: Rises | None, contract: Contract | None) -> dict[str, float | str]:
    """Means, or why there is none."""
    histograms = _TOGETHER if contract is None else _APART
    if rises is None:
        return dict.fromkeys(histograms, "the servers' metrics were not read")
    means = {phase: _sum_of_means(rises, parts) for phase, parts in histograms.items()}
    if contract is not None and contract.order is not Order.PREFILL_FIRST:
        # Decode's request came first or at once: it waited while prefill worked, too.
        means["transfer"] = _less(means["transfer"], means["queue"], means["prefill"])
    return means


def _less(whole: float | str, *parts: float | str) -> float | str:
    for number in (whole, *parts):
        if isinstance(number, str):
            return number
    return max(float(whole) - sum(map(float, parts)), 0.0)


def _sum_of_means(rises: Rises, parts: Sequence[Histogram]) -> float | str:
    total = 0.0
    for part in parts:
        seconds, requests = rises.rise(part.total), rises.rise(part.count)
        if seconds is None or requests is None:
            return rises.gap(part.total) or rises.gap(part.count) or f"{part.name} is not told"
        if not requests:
            return f"{part.name} of {part.role} members counted no request"
        total += seconds / requests
    return total
