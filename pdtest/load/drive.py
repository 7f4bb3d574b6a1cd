"""Puts a load on a deployment from processes of its own, and gives back what they saw."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pdtest.load.crew import Crew
from pdtest.load.hand import Hire
from pdtest.load.health import client_health
from pdtest.load.layout import LoadPlan
from pdtest.load.share import Share
from pdtest.load.steady import steady_window
from pdtest.load.way import Way
from pdtest.results import ClientHealth, Exchange, Sender


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What a load's client saw. Fields as in `pdtest.results.Result`; ``exchanges`` by number."""

    exchanges: tuple[Exchange, ...]
    client: ClientHealth
    senders: tuple[Sender, ...]
    begun_unix_s: float
    begun_monotonic_s: float
    lasted_s: float
    steady_s: tuple[float, float] | None


def drive(
    plan: LoadPlan,
    ways: Sequence[Way],
    *,
    processes: int = 1,
    timeout_s: float = 120.0,
    hire: Hire | None = None,
) -> Recorded:
    """Put ``plan`` on ``ways``, which take the requests in turn, and wait for all answers. Blocks.

    ``timeout_s`` is for one request. One that fails is recorded, not raised. ``hire`` starts a process of
    the client elsewhere; the load's clock is this machine's all the same. Raises LoadBroken when a process
    of the client dies, MissingExtra without the packages of the extra ``load``, and ValueError for a way that
    a client cannot lead. Ctrl-C ends its processes.
    """
    shares = list(_shares(plan, ways, processes, timeout_s))
    with Crew(shares, hire) as crew:
        crew.prepare()
        begun_at, reports = crew.work()
        senders = crew.senders
    begun_unix_s = time.time() - (time.monotonic() - begun_at)
    exchanges = tuple(
        sorted((one for report in reports for one in report.exchanges()), key=lambda one: one.number)
    )
    steady_s = steady_window(plan, exchanges)
    return Recorded(
        exchanges=exchanges,
        client=client_health(
            reports,
            exchanges,
            plan.workload.client,
            concurrency=plan.concurrency,
            steady_s=steady_s,
        ),
        senders=senders,
        begun_unix_s=begun_unix_s,
        begun_monotonic_s=begun_at,
        lasted_s=max((one.ended_s for one in exchanges), default=0.0),
        steady_s=steady_s,
    )


def _shares(plan: LoadPlan, ways: Sequence[Way], processes: int, timeout_s: float) -> Iterator[Share]:
    """Requests are dealt to the processes like cards, so that each has some of every time."""
    count = min(processes, len(plan.asks), plan.concurrency or processes)
    for worker in range(count):
        # Users of a closed loop that do not divide evenly: the first processes have one more.
        users = None if plan.concurrency is None else (plan.concurrency + count - 1 - worker) // count
        yield Share(
            worker=worker,
            asks=plan.asks[worker::count],
            warm_up=plan.warm_up[worker::count],
            ways=tuple(ways),
            concurrency=users,
            until_s=plan.workload.duration_s,
            timeout_s=timeout_s,
        )
