"""What the X-ray costs: time per request with it and without, on the same kind of members.

    python -m benchmarks.xray [--env embedded] [--requests 40] [--tokens 200] [--rounds 5]

Requests go one after the other by the client's route, with one token to be answered, so that nothing but
prefill, transfer and the X-ray takes time. Two pairs of engines, one with and one without, take turns.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
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
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as work,
        prepared(options.env, Path(work, "plain")) as plain,
        prepared(options.env, Path(work, "exposed")) as exposed,
    ):
        exposed.expose()
        for cluster in (plain, exposed):
            with Progress(Console(file=sys.stderr)) as watch:
                cluster.start(cluster.environment.members_with(Role.PREFILL, Role.DECODE), watch=watch)
        times: dict[bool, list[float]] = {False: [], True: []}
        for turn in range(options.rounds + 1):
            for cluster in (plain, exposed):
                prompts = Prompts(seed=f"{turn} {cluster.exposed}", vocab_size=250)
                asked = [prompts.tokens(options.tokens) for _ in range(options.requests)]
                took = asyncio.run(_times(cluster, asked))
                if turn:  # the first round warms up
                    times[cluster.exposed] += took
        _print(times[False], times[True], options.tokens, exposed)


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


def _print(plain: list[float], exposed: list[float], tokens: int, cluster: Cluster) -> None:
    # The first quartile: whatever else the machine does only adds to it.
    without, with_it = (statistics.quantiles(times)[0] * 1e3 for times in (plain, exposed))
    archive = Archive(cluster.directory / DIRECTORY)
    plates = archive.plates
    looked = statistics.median(plate.took_s for plate in plates) * 1e3
    size = sum(file.stat().st_size for file in archive.directory.glob("*/*.jsonl")) / len(plates)
    began = time.perf_counter()
    diagnose(archive, plates[-1].request or plates[-1].sequence)
    read = (time.perf_counter() - began) * 1e3
    print(f"a request of {tokens} tokens: {without:.2f} ms without, {with_it:.2f} ms with X-ray")
    print(f"ratio {with_it / without:.2f}; digests take {looked:.2f} ms on each side")
    print(f"records have {size / tokens:.0f} bytes a token")
    print(f"holding one request's records together takes {read:.1f} ms ({len(plates)} records are there)")


if __name__ == "__main__":
    main()
