"""Clusters with members on two hosts, each a real sshd."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from pdtest.cluster.incident import StartFailed
from pdtest.environment.schema import Host
from pdtest.events import HostReached, MemberDied, MemberStarting, MemberStopped
from pdtest.faults import Freeze, Kill, Restart, Terminate, inflicted
from pdtest.launch.far_process import FarProcess
from pdtest.launch.host_errors import HostUnreachable
from pdtest.launch.kin import OWNER_VARIABLE, Kin
from tests.launch.sshd import SSHD, Sshd

from .conftest import Workshop
from .fakes import survivors, until

pytestmark = pytest.mark.skipif(SSHD is None, reason="no sshd; Debian: openssh-server")

CONTROLLER = Path(__file__).with_name("controller.py")
MEMBERS: dict[str, dict[str, Any]] = {
    "prefill": {"launcher": "ssh", "host": "a", "daemon": True},
    "decode": {"launcher": "ssh", "host": "b", "daemon": True},
    "proxy": {"role": "proxy", "host": "local"},
}


@pytest.fixture
def hosts(servers: tuple[Sshd, Sshd]) -> dict[str, Host]:
    return {"a": servers[0].host(), "b": servers[1].host(), "local": Host()}


def there(owner: str) -> list[int]:
    """What lives on either host of the run's members."""
    tags = [{OWNER_VARIABLE: f"{owner}-fake-{name}"} for name in ("a", "b")]
    return [process.pid for tag in tags for process in Kin(tag).scan()]


def test_members_on_two_hosts_live_as_local_ones_do(
    workshop: Workshop, hosts: dict[str, Host], servers: tuple[Sshd, Sshd]
) -> None:
    members = MEMBERS | {"decode": MEMBERS["decode"] | {"says": ["Loading weights"]}}
    cluster = workshop.cluster(members, hosts=hosts)

    cluster.start()

    for member in cluster.members.values():
        assert httpx.get(f"{member.url}/health").status_code == 200
    prefill, decode = cluster.members["prefill"], cluster.members["decode"]
    assert prefill.placement.directory.is_relative_to(servers[0].workdir)
    assert decode.log.tail() == ["Loading weights"]
    assert len(there(workshop.owner)) == 4
    assert len(survivors(workshop.owner)) == 1, "the proxy is all that runs here"

    assert isinstance(decode.process, FarProcess)
    os.kill(decode.process.far_pid, signal.SIGKILL)
    assert decode.died.result(timeout=5).returncode == -signal.SIGKILL
    cluster.restart("decode")
    assert httpx.get(f"{decode.url}/health").status_code == 200
    assert "generation 2" in decode.log.path.read_text(encoding="utf-8")

    cluster.stop()
    assert there(workshop.owner) == []
    assert list((servers[0].workdir / "runs").iterdir()) == []
    events = workshop.events()
    assert {event.host for event in events if isinstance(event, HostReached)} == {"a", "b"}
    started = {event.member: event.host for event in events if isinstance(event, MemberStarting)}
    assert started == {"prefill": "a", "decode": "b", "proxy": None}
    assert len([event for event in events if isinstance(event, MemberDied)]) == 1
    assert {event.member for event in events if isinstance(event, MemberStopped)} == set(MEMBERS)


@pytest.mark.parametrize(
    ("kind", "seen"), [(Kill, "ended"), (Terminate, "took SIGTERM"), (Restart, "in place of")]
)
def test_a_member_on_a_host_is_broken_as_a_local_one_is(
    workshop: Workshop, hosts: dict[str, Host], kind: type[Kill | Terminate | Restart], seen: str
) -> None:
    cluster = workshop.cluster(MEMBERS, hosts=hosts)
    cluster.start()
    decode = cluster.members["decode"]
    assert isinstance(decode.process, FarProcess)
    former = str(decode.process.far_pid)

    async def broken() -> str:
        async with inflicted(kind(cluster, "decode")) as effect:
            return effect.what

    what = asyncio.run(broken())

    assert seen in what
    assert former in what
    assert decode.generation == 2
    assert httpx.get(f"{decode.url}/health").status_code == 200
    assert len(there(workshop.owner)) == 4, "its daemon came back with it, and no former one is left"


def test_a_member_on_a_host_is_frozen_and_goes_on(workshop: Workshop, hosts: dict[str, Host]) -> None:
    cluster = workshop.cluster(MEMBERS, hosts=hosts)
    cluster.start()
    decode = cluster.members["decode"]

    async def frozen() -> str:
        async with inflicted(Freeze(cluster, "decode")) as effect, httpx.AsyncClient() as client:
            assert all(process.stopped for process in cluster.processes("decode"))
            with pytest.raises(httpx.ReadTimeout):
                await client.get(f"{decode.url}/health", timeout=0.3)
            return effect.what

    assert "stopped (state T)" in asyncio.run(frozen())
    assert httpx.get(f"{decode.url}/health").status_code == 200
    assert decode.generation == 1


def test_a_member_that_dies_as_it_starts_is_told_with_its_log(
    workshop: Workshop, hosts: dict[str, Host]
) -> None:
    dying = {"launcher": "ssh", "host": "a", "says": ["CUDA out of memory"], "exits": 3}
    cluster = workshop.cluster({"decode": dying}, hosts=hosts)
    with pytest.raises(StartFailed) as failure:
        cluster.start()
    for part in ("decode died", "exit code 3", "| CUDA out of memory", "Lower gpu-memory-utilization"):
        assert part in str(failure.value)
    assert there(workshop.owner) == []


def test_a_host_out_of_reach_fails_the_start_and_leaves_the_other(
    workshop: Workshop, hosts: dict[str, Host], servers: tuple[Sshd, Sshd]
) -> None:
    nowhere = servers[1].host(port=1)
    cluster = workshop.cluster(MEMBERS, hosts=hosts | {"b": nowhere})
    with pytest.raises(HostUnreachable, match="host 'b'"):
        cluster.start()
    assert list((servers[0].workdir / "runs").iterdir()) == []


@pytest.mark.parametrize(
    "members", [{"loads_s": 60.0}, {"ignores_sigterm": True}], ids=["loading", "serving"]
)
def test_nothing_survives_on_the_hosts_when_the_run_is_killed(
    tmp_path: Path, hosts: dict[str, Host], members: dict[str, Any]
) -> None:
    with controller(tmp_path, {name: one | members for name, one in MEMBERS.items()}, hosts) as (
        process,
        owner,
    ):
        until(lambda: len(there(owner)) == 4, "members and their daemons run")
        if "loads_s" not in members:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        process.kill()
        killed_at = time.monotonic()
        until(lambda: not there(owner), "all gone", 10.0)
        assert time.monotonic() - killed_at < 10.0


def test_ctrl_c_leaves_nothing_on_the_hosts(tmp_path: Path, hosts: dict[str, Host]) -> None:
    loading = {name: one | {"loads_s": 60.0} for name, one in MEMBERS.items()}
    with controller(tmp_path, loading, hosts) as (process, owner):
        until(lambda: len(there(owner)) == 4, "members and their daemons run")
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        assert process.stdout.readline() == "interrupted, left: []\n"
        assert there(owner) == []
        assert process.wait(timeout=20) == 0


@contextmanager
def controller(
    directory: Path, members: dict[str, Any], hosts: dict[str, Host]
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A run in a process of its own."""
    owner = f"test-{directory.name}-{os.getpid()}"
    described = json.dumps({name: host.model_dump(mode="json") for name, host in hosts.items()})
    command = [sys.executable, str(CONTROLLER), str(directory / "run"), owner, json.dumps(members), described]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            yield process, owner
        finally:
            process.kill()
            for pid in [*there(owner), *survivors(owner)]:
                os.kill(pid, signal.SIGKILL)
