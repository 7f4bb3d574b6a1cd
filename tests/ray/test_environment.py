"""The environment `embedded-ray`: 2 prefill and 2 decode on two nodes, and a load from both."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from pdtest.events import HandoffFinished, HostReached, MemberStarting, read
from pdtest.results import read_exchanges, read_results
from tests.ray.nodes import HEAD, OTHER, Nodes

ROOT = Path(__file__).parents[2]
SUITES = (
    *("suites/transfer/test_moved.py", "suites/correctness/test_users_prompts.py"),
    "suites/performance/test_thresholds.py",
)


def command(nodes: Nodes, directory: Path, *suites: str) -> tuple[list[str], dict[str, str]]:
    pytest = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--env", "embedded-ray"]
    settings = {
        "RAY_ADDRESS": nodes.address,
        "PDTEST_HOST_WORKDIR": str(directory / "work"),
        "PDTEST_RUNS": "1",
    }
    return [*pytest, f"--pdtest-dir={directory / 'pdtest'}", *suites], dict(os.environ) | settings


def test_suites_pass_on_members_of_two_nodes_and_a_load_comes_from_both(nodes: Nodes, tmp_path: Path) -> None:
    argv, variables = command(nodes, tmp_path, *SUITES)
    done = subprocess.run(
        argv,
        cwd=ROOT,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout
    assert "7 passed" in done.stdout
    [run] = (tmp_path / "pdtest").glob("runs/2*")
    events = list(read(run / "events.jsonl"))
    places = {str(event.member): event.address for event in events if isinstance(event, HostReached)}
    assert places == {"prefill": HEAD, "prefill-2": HEAD, "decode": OTHER, "decode-2": OTHER}
    urls = {event.member: event.url for event in events if isinstance(event, MemberStarting)}
    assert all(address in urls[member] for member, address in places.items())
    assert any(isinstance(event, HandoffFinished) for event in events)
    assert list((tmp_path / "work/runs").iterdir()) == []
    folder, result = next(read_results(run))
    assert {sender.host for sender in result.senders} == {HEAD, OTHER}
    for sender in result.senders:
        assert abs(sender.clock_offset_s) <= sender.clock_error_s < 1, "it is one clock"
    exchanges = [*read_exchanges(folder)]
    assert {one.worker for one in exchanges} == {0, 1}
    assert all(one.ok and one.due_s is not None and one.sent_s >= one.due_s - 0.01 for one in exchanges)


def test_nothing_stays_on_the_nodes_when_pytest_is_killed(nodes: Nodes, tmp_path: Path) -> None:
    argv, variables = command(nodes, tmp_path, "suites/transfer/test_moved.py")
    with (
        ended(tmp_path),
        subprocess.Popen(argv, cwd=ROOT, env=variables, stdout=subprocess.DEVNULL) as process,
    ):
        until(lambda: len(engines(tmp_path)) == 4, "four engines run on the nodes", 120)
        process.kill()
        until(lambda: not engines(tmp_path), "all are gone", 30)
    until(lambda: not drivers(nodes), "so is what talked to Ray", 30)


def engines(directory: Path) -> list[int]:
    """Of this run's members on the nodes, in whose directories they work."""
    there = str(directory / "work" / "runs")
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd().startswith(there) and "engine" in " ".join(process.cmdline()):
                found.append(process.pid)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def drivers(nodes: Nodes) -> list[int]:
    """Bridges to this cluster."""
    running = psutil.process_iter(["cmdline"])
    return [
        one.pid
        for one in running
        if {"pdtest.launch.ray_bridge", nodes.address} <= {*(one.info["cmdline"] or ())}
    ]


def until(condition: Callable[[], object], what: str, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.1)


@contextmanager
def ended(directory: Path) -> Iterator[None]:
    try:
        yield
    finally:
        for pid in engines(directory):
            os.kill(pid, signal.SIGKILL)
