"""What pdtest adds: from pytest's start to the first request, less the slowest member's own start-up.

python -m benchmarks.overhead [--env vllm-cpu] [--rounds 1]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.standing import ROOT
from pdtest.events import MemberReady, read
from pdtest.events.handoff import RequestSent

_LIMIT_S = 1.5


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--env", default="vllm-cpu")
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    overheads = [_round(options.env) for _ in range(options.rounds)]
    median = statistics.median(overheads)
    ratio = median / _LIMIT_S
    print(f"overhead {median:.2f} s, limit {_LIMIT_S} s, ratio {ratio:.2f} ({options.rounds} rounds)")


def _round(environment: str) -> float:
    with tempfile.TemporaryDirectory() as work:
        test = "suites/transfer/test_contract.py::test_both_legs_carry_one_request_id"
        began = time.time()
        command = [sys.executable, "-m", "pytest", "-q", "--env", environment, "--pdtest-dir", work, test]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        (journal,) = Path(work).glob("runs/2*/events.jsonl")
        events = list(read(journal))
        first = next(event.at for event in events if isinstance(event, RequestSent))
        slowest = max(event.elapsed_s for event in events if isinstance(event, MemberReady))
        print(
            f"  to the first request {first - began:.2f} s, slowest member {slowest:.2f} s", file=sys.stderr
        )
        return first - began - slowest


if __name__ == "__main__":
    main()
