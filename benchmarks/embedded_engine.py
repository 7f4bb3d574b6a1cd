"""One embedded engine: how fast it is there, how much memory it takes, and how fast it decodes.

    python -m benchmarks.embedded_engine [--rounds 5] [--batch 16] [--prompt 128] [--tokens 256]

The engine has one core to itself and the client another. Beside it, on the same core: the transformer alone,
without HTTP and scheduling, and the multiplications of its matrices alone.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.embedded_process import Engine
from benchmarks.embedded_streams import Load, decode_rate, streams
from pdtest.models import embedded

_READY_S = 1.0
_RESIDENT_MB = 80
_TOKENS_PER_S = 1500


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="starts to measure")
    parser.add_argument("--batch", type=int, default=16, help="streams at once")
    parser.add_argument("--prompt", type=int, default=128, help="tokens of each prompt")
    parser.add_argument("--tokens", type=int, default=256, help="tokens of each answer")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) == 1:
        print("one core only: engine and client share it", file=sys.stderr)
    load = Load(streams=options.batch, prompt=options.prompt, tokens=options.tokens)
    with tempfile.TemporaryDirectory() as work:
        model = embedded.ensure(Path(work) / "model")
        _starts(model, options.rounds)
        _decoding(model, load, cores)


def _starts(model: Path, rounds: int) -> None:
    ready = []
    for _ in range(rounds):
        with Engine(model) as engine:
            ready.append(engine.wait_ready())
    _print(
        "spawn to ready", statistics.median(ready), "s", _READY_S, f"worst of {rounds}: {max(ready):.2f} s"
    )


def _decoding(model: Path, load: Load, cores: list[int]) -> None:
    os.sched_setaffinity(0, {cores[-1]})
    with Engine(model, core=cores[0]) as engine:
        engine.wait_ready()
        idle = engine.resident_mb()
        _print("resident", idle, "MB", _RESIDENT_MB)
        asyncio.run(streams(engine.port, load))  # the first one warms up
        busy_from, began = engine.cpu_s(), time.perf_counter()
        arrivals = asyncio.run(streams(engine.port, load))
        busy, took = engine.cpu_s() - busy_from, time.perf_counter() - began
        grown = engine.resident_mb()
    served = decode_rate(arrivals)
    total = load.streams * load.tokens
    _print(f"decoded, batch {load.streams}", served, "tokens/s", _TOKENS_PER_S, "while all streams decode")
    print(
        f"  with prefill {total / took:.0f}, per second of the engine's CPU time {total / busy:.0f} tokens/s"
    )
    print(f"resident, loaded   {grown:8.0f} MB, with KV of {total + load.streams * load.prompt} tokens")
    os.sched_setaffinity(0, {cores[0]})
    for name, rate in _peers(model, load).items():
        print(f"{name:18} {rate:8.0f} tokens/s, served is {served / rate:.0%} of it")


def _peers(model: Path, load: Load) -> dict[str, float]:
    """Tokens per second that one could hope for."""
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    from benchmarks.embedded_peers import decode_alone, matrices_alone

    peers: dict[str, Callable[[Path, Load], float]] = {
        "transformer alone": decode_alone,
        "matrices alone": matrices_alone,
    }
    return {name: measure(model, load) for name, measure in peers.items()}


def _print(what: str, seen: float, unit: str, limit: float, remark: str = "") -> None:
    digits = 2 if unit == "s" else 0
    figures = f"{seen:8.{digits}f} {unit}, limit {limit:g}, ratio {seen / limit:.2f}"
    print(f"{what:18} {figures}{f' ({remark})' if remark else ''}")


if __name__ == "__main__":
    main()
