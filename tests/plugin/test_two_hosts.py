"""The environment `embedded-two-hosts`, its hosts two real sshd."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pdtest.events import Event, FaultVerified, HandoffFinished, HostReached, MemberStarting, read
from tests.launch.sshd import SSHD, Sshd, servers

__all__ = ["servers"]
pytestmark = pytest.mark.skipif(SSHD is None, reason="no sshd; Debian: openssh-server")
ROOT = Path(__file__).parents[2]
SUITES = ("suites/transfer/test_moved.py", "suites/correctness/test_users_prompts.py")
BROKEN = (
    *("suites/recovery/test_scenarios.py", "-k"),
    "decode-killed-in-decode-client or prefill-frozen-in-transfer",
)


def run(
    environment: str, *arguments: str, servers: tuple[Sshd, Sshd], tmp_path: Path
) -> tuple[str, list[Event]]:
    """What a pytest prints that passes, and what happened meanwhile."""
    config = tmp_path / "ssh_config"
    config.write_text("".join(map(entry, servers)))
    settings = {
        "PREFILL_HOST": servers[0].address,
        "DECODE_HOST": servers[1].address,
        "PDTEST_SSH_CONFIG": str(config),
        "PDTEST_HOST_PYTHON": sys.executable,
        "PDTEST_HOST_WORKDIR": str(tmp_path / "work"),
    }
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments),
            *("--env", environment, f"--pdtest-dir={tmp_path / 'pdtest'}"),
        ],
        cwd=ROOT,
        env=dict(os.environ) | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    assert list((tmp_path / "work/runs").iterdir()) == []
    [journal] = (tmp_path / "pdtest").glob("runs/2*/events.jsonl")
    return done.stdout, list(read(journal))


def test_members_of_two_hosts_are_broken_and_recover(servers: tuple[Sshd, Sshd], tmp_path: Path) -> None:
    said, events = run("embedded-two-hosts-recovery", *BROKEN, servers=servers, tmp_path=tmp_path)
    assert "2 passed" in said
    lives = [event.host for event in events if isinstance(event, MemberStarting) and event.member == "decode"]
    assert lives == ["decode-host", "decode-host"]
    assert {event.fault for event in events if isinstance(event, FaultVerified)} == {"kill", "freeze"}


def test_suites_pass_on_members_of_two_hosts(servers: tuple[Sshd, Sshd], tmp_path: Path) -> None:
    said, events = run("embedded-two-hosts", *SUITES, servers=servers, tmp_path=tmp_path)
    assert "6 passed" in said
    assert {event.host for event in events if isinstance(event, HostReached)} == {
        "prefill-host",
        "decode-host",
    }
    urls = {event.member: event.url for event in events if isinstance(event, MemberStarting)}
    assert servers[0].address in urls["prefill"]
    assert servers[1].address in urls["decode"]
    assert any(isinstance(event, HandoffFinished) for event in events)


def entry(server: Sshd) -> str:
    """Of an ssh_config, with everything that is not in the environment's variables."""
    return (
        f"Host {server.address}\n  Port {server.port}\n  User {getpass.getuser()}\n"
        f"  IdentityFile {server.key}\n  UserKnownHostsFile {server.directory / 'known_hosts'}\n"
    )
