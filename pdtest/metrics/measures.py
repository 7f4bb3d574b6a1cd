"""All measures that come of what the client saw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pdtest.environment.performance import Slo
from pdtest.metrics.goodput import goodput_measures
from pdtest.metrics.latency import latency_measures
from pdtest.metrics.throughput import load_measures, throughput_measures
from pdtest.results import Exchange, Measure


def measures_of(
    exchanges: Sequence[Exchange],
    *,
    lasted_s: float,
    steady_s: tuple[float, float] | None,
    slo: Slo = Slo(),  # noqa: B008 - frozen
) -> tuple[Measure, ...]:
    """Those of docs/metrics.md that need nothing but the exchanges.

    ``lasted_s``: from the load's beginning to the end of the last answer.
    """
    return tuple(_measures(exchanges, lasted_s=lasted_s, steady_s=steady_s, slo=slo))


def _measures(
    exchanges: Sequence[Exchange], *, lasted_s: float, steady_s: tuple[float, float] | None, slo: Slo
) -> Iterator[Measure]:
    yield from goodput_measures(exchanges, slo, lasted_s=lasted_s)
    yield from latency_measures([one for one in exchanges if one.ok])
    yield from throughput_measures(exchanges, lasted_s=lasted_s, steady_s=steady_s)
    yield from load_measures(exchanges, lasted_s=lasted_s)
