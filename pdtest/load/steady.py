"""The part of a load in which it was what was wanted."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from pdtest.environment.arrivals import Ramp
from pdtest.load.layout import LoadPlan
from pdtest.results import Exchange


def steady_window(plan: LoadPlan, exchanges: Sequence[Exchange]) -> tuple[float, float] | None:
    """From when to when, load's clock; None where there was no such time.

    Of a closed loop: from when all users had asked to when the last request was sent. Of an open one: to
    the last due time, from the median duration of an answer on, when about as many end as begin. A ramp
    has none: its rate is another at any time.
    """
    if isinstance(plan.workload.arrivals, Ramp) or not exchanges:
        return None
    if plan.concurrency is not None:
        sent = sorted(one.sent_s for one in exchanges)
        begin_s, end_s = sent[min(plan.concurrency, len(sent)) - 1], sent[-1]
    else:
        answered = [one.ended_s - one.sent_s for one in exchanges if one.ok]
        begin_s = statistics.median(answered) if answered else 0.0
        end_s = max(one.scheduled_s for one in exchanges)
    return (begin_s, end_s) if begin_s < end_s else None
