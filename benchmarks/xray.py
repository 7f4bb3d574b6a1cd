"""What the X-ray costs: time per request with it and without, on the same kind of members.

    python -m benchmarks.xray [--env embedded] [--requests 40] [--tokens 200] [--rounds 3] [--starts 2]

Requests go one after the other by the client's route, with one token to be answered, so that nothing but
prefill, transfer and the X-ray takes time. A pair of engines without it and a pair with it are started in
turns, never both: real engines poll, and two cores are too few for four of them.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
from rich.console import Console

from benchmarks.standing import prepared
from pdtest import Prompts, Request, Role
from pdtest.client.endpoints import endpoint_of
from pdtest.client.handoff import HandoffRunner, Route
from pdtest.cluster.cluster import Cluster
from pdtest.cluster.xray import DIRECTORY
from pdtest.report.progress import Progress
from pdtest.wire.registry import contract_for
from pdtest.xray import Archive, diagnose


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--env", default="embedded")
    parser.add_argument("--requests", type=int, default=40)
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3, help="of each pair, after one that warms it up")
    parser.add_argument("--starts", type=int, default=2, help="how often each pair is started")
    options = parser.parse_args()
    times: dict[bool, list[float]] = {False: [], True: []}
    seen: list[_Records] = []
    with tempfile.TemporaryDirectory() as work:
        for turn, exposed in itertools.product(range(options.starts), (False, True)):
            directory = Path(work, f"{turn}-{exposed}")
            with prepared(options.env, directory) as cluster:
                times[exposed] += _pair(cluster, options, exposed=exposed)
                if exposed:
                    seen.append(_records(cluster, options.tokens))
    _print(times[False], times[True], options.tokens, seen[-1])


def _pair(cluster: Cluster, options: argparse.Namespace, *, exposed: bool) -> list[float]:
    """Seconds that each request took of a pair that is started for it."""
    if exposed:
        cluster.expose()
    with Progress(Console(file=sys.stderr)) as watch:
        cluster.start(cluster.environment.members_with(Role.PREFILL, Role.DECODE), watch=watch)
    times = []
    for number in range(options.rounds + 1):
        prompts = Prompts(seed=str(number), vocab_size=250)
        took = asyncio.run(_times(cluster, [prompts.tokens(options.tokens) for _ in range(options.requests)]))
        if number:  # the first round warms up
            times += took
            print(f"{'with' if exposed else 'without'}: {_low(took):.2f} ms", file=sys.stderr, flush=True)
    return times


async def _times(cluster: Cluster, prompts: Iterable[Sequence[int]]) -> list[float]:
    """Seconds that each request took."""
    async with httpx.AsyncClient(trust_env=False) as http:
        runner = HandoffRunner(
            contract=contract_for(cluster.environment.connector.contract),
            prefill=endpoint_of(cluster, cluster.with_role(Role.PREFILL)[0].name, http),
            decode=endpoint_of(cluster, cluster.with_role(Role.DECODE)[0].name, http),
        )
        times = []
        for prompt in prompts:
            began = time.perf_counter()
            (await runner.run(Request.tokens(prompt, max_tokens=1), route=Route.CLIENT)).require()
            times.append(time.perf_counter() - began)
        return times


@dataclass(frozen=True, kw_only=True)
class _Records:
    """What a pair wrote: how long digests took, their size, how long one request's take to be compared."""

    digests_ms: float
    bytes_per_token: float
    diagnosis_ms: float
    plates: int


def _records(cluster: Cluster, tokens: int) -> _Records:
    archive = Archive(cluster.directory / DIRECTORY)
    plates = archive.plates
    size = sum(file.stat().st_size for file in archive.directory.glob("*/*.jsonl")) / len(plates)
    began = time.perf_counter()
    diagnose(archive, plates[-1].request or plates[-1].sequence)
    return _Records(
        digests_ms=statistics.median(plate.took_s for plate in plates) * 1e3,
        bytes_per_token=size / tokens,
        diagnosis_ms=(time.perf_counter() - began) * 1e3,
        plates=len(plates),
    )


def _low(times: Sequence[float]) -> float:
    """Milliseconds, the first quartile: whatever else the machine does only adds to it."""
    return statistics.quantiles(times)[0] * 1e3


def _print(plain: Sequence[float], exposed: Sequence[float], tokens: int, seen: _Records) -> None:
    without, with_it = _low(plain), _low(exposed)
    print(f"a request of {tokens} tokens: {without:.2f} ms without, {with_it:.2f} ms with X-ray")
    print(f"ratio {with_it / without:.2f}; digests take {seen.digests_ms:.2f} ms on each side")
    print(f"records have {seen.bytes_per_token:.0f} bytes a token")
    print(
        f"comparing one request's records takes {seen.diagnosis_ms:.1f} ms ({seen.plates} records are there)"
    )


if __name__ == "__main__":
    main()
