"""What is left when pytest is killed with SIGKILL, and for how long? Kills it at many moments and looks.

    python -m benchmarks.killed_runs [--trials 20] [--env embedded] [-- pytest arguments]

Moments are spread over the run, from when its first process is there to the midst of its tests. Everything
that inherited a mark in its environment counts, and the reaper itself.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import sys
import time
from collections.abc import Sequence

from benchmarks.marked import MarkedRun

#: Seconds after which nothing may be left.
_ALLOWED_S = 5.0
_GIVE_UP_S = 30.0
#: Between the moments of one trial and the next.
_STEP_S = 0.3


def main() -> None:
    """Print the figures; exit 1 if anything was left for longer than allowed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--env", default="embedded")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("arguments", nargs="*", default=["suites/correctness"])
    options = parser.parse_args()
    took = []
    for trial in range(options.trials):
        after_s = _STEP_S * trial
        found, lasted_s = _trial(["--env", options.env, *options.arguments], after_s)
        took.append(lasted_s)
        print(f"killed {after_s:.1f} s in: {found} processes, gone {lasted_s:.2f} s later", flush=True)
    print(f"{len(took)} trials: median {statistics.median(took):.2f} s, longest {max(took):.2f} s")
    sys.exit(1 if max(took) > _ALLOWED_S else 0)


def _trial(arguments: Sequence[str], after_s: float) -> tuple[int, float]:
    """How many processes there were beside pytest, and for how long any of them outlived it.

    It is killed ``after_s`` seconds after the first of them was seen.
    """
    run = MarkedRun.begin(arguments)
    while not run.left() and run.process.poll() is None:
        time.sleep(0.02)
    time.sleep(after_s)
    there = run.left()
    run.process.send_signal(signal.SIGKILL)
    run.process.wait()
    began = time.perf_counter()
    while (left := run.left()) and time.perf_counter() - began < _GIVE_UP_S:
        time.sleep(0.05)
    lasted_s = time.perf_counter() - began
    for process in left:
        print(f"  left: {process.pid} {' '.join(process.cmdline())[:100]}", file=sys.stderr)
        process.kill()
    return len(there), lasted_s


if __name__ == "__main__":
    main()
