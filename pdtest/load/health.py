"""Whether what a load's client measured is the server's doing or its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pdtest.environment.workload import ClientLimits
from pdtest.load.percentile import percentile
from pdtest.load.report import Report
from pdtest.results import ClientHealth, Exchange

_P99 = 99
#: A client that uses less of its core than this has time for every event: what comes together was sent so.
_HALF_BUSY = 0.5


def client_health(
    reports: Sequence[Report],
    exchanges: Sequence[Exchange],
    limits: ClientLimits,
    *,
    concurrency: int | None,
    steady_s: tuple[float, float] | None,
) -> ClientHealth:
    """Of the worst process. ``reasons`` say what is beyond ``limits``."""
    events = sum(report.events for report in reports)
    lags = [percentile(report.lags_s, _P99) for report in reports if report.lags_s]
    late = sorted(one.sent_s - one.due_s for one in exchanges if one.due_s is not None)
    health = ClientHealth(
        processes=len(reports),
        loop_lag_p99_s=max(lags, default=None),
        schedule_lag_p99_s=max(percentile(late, _P99), 0.0) if late else None,
        cpu_share=max((one.cpu_s / one.lasted_s for one in reports if one.lasted_s > 0), default=None),
        coalesced_share=sum(report.coalesced for report in reports) / events if events else None,
        concurrency_wanted=concurrency,
        concurrency_seen=_under_way(exchanges, steady_s) if concurrency and steady_s else None,
    )
    return health.model_copy(update={"reasons": tuple(_reasons(health, limits))})


def _reasons(health: ClientHealth, limits: ClientLimits) -> Iterator[str]:
    lag, late, cpu = health.loop_lag_p99_s, health.schedule_lag_p99_s, health.cpu_share
    if lag is not None and lag > limits.loop_lag_p99_s:
        yield f"its event loop was {_ms(lag)} late (p99, limit {_ms(limits.loop_lag_p99_s)})"
    if late is not None and late > limits.schedule_lag_p99_s:
        yield f"requests were sent {_ms(late)} late (p99, limit {_ms(limits.schedule_lag_p99_s)})"
    if cpu is not None and cpu > limits.cpu_share:
        yield f"a process used {cpu:.0%} of a core (limit {limits.cpu_share:.0%})"
    together = health.coalesced_share
    if together is not None and together > limits.coalesced_share and (cpu or 0.0) > _HALF_BUSY:
        yield (
            f"{together:.0%} of the events came together with earlier ones (limit "
            f"{limits.coalesced_share:.0%}), and it used {cpu or 0.0:.0%} of a core"
        )
    wanted, seen = health.concurrency_wanted, health.concurrency_seen
    if wanted and seen is not None and seen < limits.concurrency * wanted:
        yield f"{seen:.1f} requests were under way, {wanted:g} were wanted"


def _under_way(exchanges: Sequence[Exchange], window: tuple[float, float]) -> float:
    """Requests under way, mean over a window."""
    begin_s, end_s = window
    spans = (min(one.ended_s, end_s) - max(one.sent_s, begin_s) for one in exchanges)
    return sum(span for span in spans if span > 0) / (end_s - begin_s)


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms"
