"""How well the client itself did: whether what it measured is the server's doing."""

from __future__ import annotations

from pdtest.results.frozen import Frozen


class ClientHealth(Frozen):
    """Of the worst of its processes. Seconds; shares are 0 to 1; None: nothing to tell it from.

    ``loop_lag_p99_s``: how late the event loop was to run what was due. ``schedule_lag_p99_s``: how
    much later than due requests were sent. ``cpu_share``: of one core, of the busiest process.
    ``coalesced_share``: of the events that came in one read with an earlier one of the same answer.
    ``concurrency_wanted`` and ``concurrency_seen``: of a closed loop, mean over the steady window.
    ``reasons``: why the run says nothing about the server; empty where it does.
    """

    processes: int
    loop_lag_p99_s: float | None
    schedule_lag_p99_s: float | None
    cpu_share: float | None
    coalesced_share: float | None
    concurrency_wanted: float | None = None
    concurrency_seen: float | None = None
    reasons: tuple[str, ...] = ()

    @property
    def valid(self) -> bool:
        """False for a run that is INVALID: bound by its client."""
        return not self.reasons
