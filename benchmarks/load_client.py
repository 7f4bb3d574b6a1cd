"""What the load's client costs and how far off it is, beside one that merely reads bytes and vLLM's own.

python -m benchmarks.load_client [--vllm PYTHON] [--rounds 1]

All three talk to the calibration server, whose stamps tell when each event was written. vLLM's is measured
where an interpreter that has vLLM is named. Each row says how busy the server's core was, too: one that is
full bounds the rate of everybody. On a machine that does other things put
``chrt --rr 1`` before it: what is measured is then what the client does, not what the others do.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from benchmarks.standing import ROOT
from pdtest.environment.workload import Workload
from pdtest.load.drive import drive
from pdtest.load.layout import lay_out
from pdtest.load.percentile import percentile
from pdtest.load.way import Target, Way

_BARE = [sys.executable, "-m", "benchmarks.load_bare"]


@dataclass(frozen=True, kw_only=True)
class Case:
    """So many requests of so many tokens, at a steady ``rate`` per second."""

    title: str
    limit: str
    streams: int
    tokens: int
    gap_s: float
    rate: float
    ttft_s: float = 0.05

    @property
    def chunks(self) -> int:
        """Events with a token, all together."""
        return self.streams * self.tokens


#: Streams overlap for most of the time: they begin within a second.
_CASES = (
    Case(title="500 streams", limit="<= 20 us of CPU a chunk", streams=500, tokens=150, gap_s=0.02, rate=500),
    Case(
        title="1000 streams", limit="TTFT error p50 <= 0.3 ms", streams=1000, tokens=60, gap_s=0.05, rate=1000
    ),
    Case(title="all it can", limit=">= 40 k chunks/s", streams=500, tokens=500, gap_s=0.006, rate=1000),
    Case(
        title="500 requests/s",
        limit="schedule lag p99 <= 5 ms",
        streams=2000,
        tokens=4,
        gap_s=0.005,
        rate=500,
    ),
)


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Seconds. ``first``: when the first event was seen, by request. ``late_s``: sent so much after due."""

    cpu_s: float
    lasted_s: float
    first: Mapping[str, float]
    late_s: Sequence[float]


Client = Callable[[str, Case], Figures]


def main() -> None:
    """Print a table for each case."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vllm", type=Path, help="an interpreter that has vLLM")
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    clients: dict[str, Client] = {"pdtest": _pdtest, "bare": _outside(_BARE)}
    if options.vllm:
        clients["vllm"] = _outside([str(options.vllm), str(ROOT / "benchmarks" / "load_vllm.py")])
    for case in _CASES:
        print(f"\n{case.title}, {case.tokens} tokens each; {case.limit}")
        print(
            f"{'':8}{'us/chunk':>10}{'chunks/s':>10}{'core':>7}{'server':>8}"
            f"{'TTFT error':>13}{'late p99':>11}"
        )
        for name, client in clients.items():
            for _ in range(options.rounds):
                _measure(name, client, case)


def _measure(name: str, client: Client, case: Case) -> None:
    with _server(case) as (url, process):
        seen = client(url, case)
        busy_s = sum(process.cpu_times()[:2])
        stamps = httpx.get(f"{url}/stamps", timeout=60).json()
    written = {name: one["written"] for name, one in stamps.items() if name in seen.first}
    errors = [seen.first[name] - times[0] for name, times in written.items()]
    streamed_s = max(times[-1] for times in written.values()) - min(times[0] for times in written.values())
    print(
        f"{name:8}{seen.cpu_s / case.chunks * 1e6:>10.1f}{case.chunks / streamed_s:>10.0f}"
        f"{seen.cpu_s / seen.lasted_s:>7.0%}{busy_s / seen.lasted_s:>8.0%}"
        f"{statistics.median(errors) * 1e3:>10.3f} ms{percentile(sorted(seen.late_s), 99) * 1e3:>8.2f} ms",
        flush=True,
    )


@contextmanager
def _server(case: Case) -> Iterator[tuple[str, psutil.Process]]:
    command = [sys.executable, "-m", "pdtest.load.calibration"]
    command += ["--ttft", str(case.ttft_s), "--gap", str(case.gap_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield (server.stdout.readline().strip() if server.stdout else ""), psutil.Process(server.pid)
        finally:
            server.terminate()


def _pdtest(url: str, case: Case) -> Figures:
    workload = Workload.model_validate(
        {
            "arrivals": {"pattern": "constant", "rate": case.rate},
            "requests": case.streams,
            "prompt": {"shape": "fixed", "tokens": 16},
            "answer": {"shape": "fixed", "tokens": case.tokens},
        }
    )
    plan = lay_out(workload, vocab_size=1000, max_model_len=10_000)
    load = drive(plan, [Way(answers=Target(name="calibration", url=url, model="m"))])
    broken = next((one.error for one in load.exchanges if one.error), None)
    if broken is not None:
        sys.exit(broken)
    for reason in load.client.reasons:
        print(f"        INVALID: {reason}")
    return Figures(
        cpu_s=(load.client.cpu_share or 0.0) * load.lasted_s,
        lasted_s=load.lasted_s,
        first={one.request_id: load.begun_monotonic_s + one.pieces[0].at_s for one in load.exchanges},
        late_s=[one.sent_s - one.scheduled_s for one in load.exchanges],
    )


def _outside(command: Sequence[str]) -> Client:
    """A client that is a program of its own."""

    def client(url: str, case: Case) -> Figures:
        arguments = [url, str(case.streams), str(case.tokens), str(case.rate)]
        done = subprocess.run([*command, *arguments], check=True, capture_output=True, text=True, cwd=ROOT)
        return Figures(**json.loads(done.stdout.splitlines()[-1]))

    return client


if __name__ == "__main__":
    main()
