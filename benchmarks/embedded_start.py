"""How long embedded environments take from `Cluster.start` until every member answers, and to stop again.

python -m benchmarks.embedded_start [--rounds 5] [ENVIRONMENT=LIMIT_S ...]
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.standing import prepared
from pdtest.events import MemberReady, MemberStarting, read

_LIMITS_S = ["embedded=2", "embedded-8p24d=40"]
#: An environment that takes longer than this is started once.
_LONG_S = 5.0


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("environments", nargs="*", default=_LIMITS_S, metavar="ENVIRONMENT=LIMIT_S")
    options = parser.parse_args()
    print(f"{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}")
    for asked in options.environments:
        name, _, limit = asked.partition("=")
        _measure(name, float(limit), options.rounds)


def _measure(name: str, limit_s: float, rounds: int) -> None:
    took: list[float] = []
    while len(took) < rounds and not (took and took[-1] > _LONG_S):
        with tempfile.TemporaryDirectory() as work:
            start_s, stop_s, details = _round(name, Path(work))
        took.append(start_s)
    median = statistics.median(took)
    print(
        f"{name:16} {median:6.2f} s, limit {limit_s:g} s, ratio {median / limit_s:.2f} ({len(took)} rounds)"
    )
    print(f"  last round: {details}, stopped in {stop_s:.2f} s")


def _round(name: str, work: Path) -> tuple[float, float, str]:
    with prepared(name, work) as cluster:
        began = time.perf_counter()
        cluster.start()
        start_s = time.perf_counter() - began
        events = list(read(work / "events.jsonl"))
        pids = [event.pid for event in events if isinstance(event, MemberStarting) and event.pid]
        resident = [psutil.Process(pid).memory_info().rss / 1e6 for pid in pids]
        began = time.perf_counter()
    stop_s = time.perf_counter() - began
    ready = {event.elapsed_s: event.member for event in events if isinstance(event, MemberReady)}
    details = (
        f"{len(pids)} members of {max(resident):.0f} MB at most, {sum(resident):.0f} MB in all; slowest"
        f" {ready[max(ready)]}, {max(ready):.2f} s"
    )
    return start_s, stop_s, details


if __name__ == "__main__":
    main()
