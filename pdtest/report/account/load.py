"""A load on a deployment, reduced to what a page can show: numbers, curves, some of its requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from pdtest.metrics.latency import between_tokens, e2e, tpot, ttft
from pdtest.report.account.curve import Points, in_flight, per_second, shares, thinned
from pdtest.report.account.frozen import Shown
from pdtest.report.account.journey import Journey, of_exchange
from pdtest.results import ClientHealth, Exchange, Measure, Monitor, Result, read_exchanges, read_monitor

#: Requests whose way is drawn.
_JOURNEYS: Final = 64


class Quantity(Shown):
    """One quantity of one source over the load's time."""

    name: str
    unit: str
    points: Points
    mean: float
    most: float


class MonitorShown(Shown):
    """As `pdtest.results.Monitor`, with curves instead of readings."""

    kind: str
    name: str
    members: tuple[str, ...]
    every_s: float
    true_every_s: float | None
    cost_cpu_share: float | None
    quantities: tuple[Quantity, ...]
    missing: dict[str, str]


class Distribution(Shown):
    """``points``: (seconds, share of the observations that are not longer)."""

    name: str
    observations: int
    points: Points


class LoadShown(Shown):
    """One run of one load. ``journeys``: a sample, evenly chosen, with the slowest and those that failed."""

    environment: str
    folder: str
    label: str
    target: str
    repeat: int
    fingerprint: str
    workload: dict[str, Any]
    begun_at: float
    lasted_s: float
    steady_s: tuple[float, float] | None
    client: ClientHealth
    requests: int
    errors: dict[str, int]
    measures: tuple[Measure, ...]
    distributions: tuple[Distribution, ...]
    in_flight: Points
    tokens_per_s: Points
    journeys: tuple[Journey, ...]
    monitors: tuple[MonitorShown, ...]

    def measure(self, name: str) -> Measure | None:
        """The one of this name."""
        return next((one for one in self.measures if one.name == name), None)


def load_shown(run: Path, directory: Path, result: Result) -> LoadShown:
    """Of a result, and of the files beside it."""
    exchanges = [*read_exchanges(directory)]
    monitors = [read_monitor(directory, name) for name in result.monitors]
    failed = Counter(exchange.error or "" for exchange in exchanges if not exchange.ok)
    return LoadShown(
        environment=result.environment,
        folder=str(directory.relative_to(run)),
        label=result.label,
        target=result.target,
        repeat=result.repeat,
        fingerprint=result.fingerprint,
        workload=result.workload,
        begun_at=result.begun_unix_s,
        lasted_s=result.lasted_s,
        steady_s=result.steady_s,
        client=result.client,
        requests=len(exchanges),
        errors=dict(failed.most_common()),
        measures=result.measures,
        distributions=tuple(_distributions([one for one in exchanges if one.ok])),
        in_flight=thinned(in_flight((one.sent_s, one.ended_s) for one in exchanges)),
        tokens_per_s=thinned(
            per_second(
                ((piece.at_s, piece.tokens) for one in exchanges for piece in one.pieces), result.lasted_s
            )
        ),
        journeys=tuple(map(of_exchange, _sampled(exchanges))),
        monitors=tuple(map(_monitor, monitors)),
    )


def _distributions(answered: Sequence[Exchange]) -> Iterator[Distribution]:
    waits: dict[str, Iterable[float | None]] = {
        "ttft": map(ttft, answered),
        "tbt": (gap for one in answered for gap, tokens in between_tokens(one) for _ in range(tokens)),
        "tpot": map(tpot, answered),
        "e2e": map(e2e, answered),
    }
    for name, values in waits.items():
        known = sorted(value for value in values if value is not None)
        if known:
            yield Distribution(name=name, observations=len(known), points=shares(known))


def _sampled(exchanges: Sequence[Exchange]) -> list[Exchange]:
    """In the order in which they were due."""
    ordered = sorted(exchanges, key=lambda one: (one.scheduled_s, one.number))
    if len(ordered) <= _JOURNEYS:
        return ordered
    telling = sorted(ordered, key=lambda one: (one.ok, one.scheduled_s - one.ended_s))[: _JOURNEYS // 4]
    chosen = {one.number: one for one in telling}
    step = len(ordered) / (_JOURNEYS - len(chosen))
    for place in range(_JOURNEYS - len(chosen)):
        one = ordered[int(place * step)]
        chosen[one.number] = one
    return sorted(chosen.values(), key=lambda one: (one.scheduled_s, one.number))


def _monitor(monitor: Monitor) -> MonitorShown:
    return MonitorShown(
        kind=monitor.kind,
        name=monitor.name,
        members=monitor.members,
        every_s=monitor.every_s,
        true_every_s=monitor.true_every_s,
        cost_cpu_share=monitor.cost_cpu_share,
        quantities=tuple(_quantities(monitor)),
        missing=monitor.missing,
    )


def _quantities(monitor: Monitor) -> Iterator[Quantity]:
    for name, unit in monitor.units.items():
        points = [(one.at_s, one.values[name]) for one in monitor.readings if name in one.values]
        if points:
            values = [value for _, value in points]
            mean = sum(values) / len(values)
            yield Quantity(name=name, unit=unit, points=thinned(points), mean=mean, most=max(values))
