from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pdtest.launch.claims import LOWEST_PORT, default_directory
from pdtest.launch.lease import NoPortsLeft, PortLeases, PortTaken

TAKER = """
import sys
from pathlib import Path
from pdtest.launch import lease
leases = lease.PortLeases("run", Path(sys.argv[1]), span=(20000, 20100))
sys.stdin.readline()
print(*[first + i for first in [leases.take(2) for _ in range(5)] for i in range(2)], flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "leases"


@pytest.fixture
def leases(directory: Path) -> Iterator[PortLeases]:
    ours = PortLeases("ours", directory)
    yield ours
    ours.release_all()


@pytest.fixture
def others(directory: Path) -> Iterator[PortLeases]:
    theirs = PortLeases("theirs", directory)
    yield theirs
    theirs.release_all()


def test_ports_lie_below_those_the_kernel_hands_out(leases: PortLeases) -> None:
    ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    assert LOWEST_PORT <= leases.take(3) < ephemeral - 2


def test_eight_processes_at_once_never_collide(directory: Path) -> None:
    takers = [
        subprocess.Popen(
            [sys.executable, "-c", TAKER, str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(8)
    ]
    for taker in takers:  # all of them are at the line by now, or will find it open
        assert taker.stdin is not None
        taker.stdin.write("go\n")
        taker.stdin.flush()
    taken = [port for taker in takers if taker.stdout for port in taker.stdout.readline().split()]
    for taker in takers:
        taker.communicate("done\n", timeout=10)
    assert len(taken) == 80
    assert len(set(taken)) == 80


def test_a_leased_port_is_refused_with_its_owner(leases: PortLeases, others: PortLeases) -> None:
    port = others.take()
    with pytest.raises(PortTaken) as refusal:
        leases.claim(port)
    assert f"another run holds port {port}" in str(refusal.value)
    assert refusal.value.seen is not None
    assert refusal.value.seen.startswith(f"run theirs, process {os.getpid()}, for 0.0 min")


def test_a_released_port_can_be_claimed(leases: PortLeases, others: PortLeases) -> None:
    port = others.take()
    others.release_all()
    others.release_all()
    leases.claim(port)
    with pytest.raises(PortTaken):
        others.claim(port)


def test_a_dead_owner_holds_nothing(leases: PortLeases, directory: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", TAKER, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as taker:
        assert taker.stdin is not None
        assert taker.stdout is not None
        taker.stdin.write("go\n")
        taker.stdin.flush()
        port = int(taker.stdout.readline().split()[0])
        with pytest.raises(PortTaken):
            leases.claim(port)
        taker.kill()
    leases.claim(port)


def test_a_port_that_a_stranger_serves_is_refused_with_its_name(leases: PortLeases) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        with pytest.raises(PortTaken, match="not part of a run") as refusal:
            leases.claim(port)
        assert refusal.value.seen is not None
        assert f"process {os.getpid()}: " in refusal.value.seen
    leases.claim(port)  # the refusal kept no lease


def test_a_busy_port_is_passed_over(directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        busy = stranger.getsockname()[1]
        leases = PortLeases("ours", directory, span=(busy, busy + 1))
        with pytest.raises(NoPortsLeft, match="no 1 consecutive"):
            leases.take()


def test_one_run_never_takes_a_port_twice(directory: Path) -> None:
    leases = PortLeases("ours", directory, span=(21000, 21012))
    first = [leases.take(3) for _ in range(2)]
    assert abs(first[0] - first[1]) >= 3
    with pytest.raises(PortTaken, match="two members"):
        leases.claim(first[0])


def test_all_users_share_the_directory(leases: PortLeases, directory: Path) -> None:
    port = leases.take()
    assert directory.stat().st_mode & 0o7777 == 0o1777
    assert (directory / f"{port}.lock").stat().st_mode & 0o777 == 0o666
    assert json.loads((directory / f"{port}.json").read_text(encoding="utf-8"))["owner"] == "ours"


def test_the_directory_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PDTEST_LEASE_DIR", raising=False)
    monkeypatch.setattr("tempfile.tempdir", "/somewhere")
    assert default_directory() == Path("/somewhere/pdtest-leases")
    monkeypatch.setenv("PDTEST_LEASE_DIR", "/elsewhere")
    assert default_directory() == Path("/elsewhere")
