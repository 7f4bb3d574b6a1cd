from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pdtest.errors import PdtestError
from pdtest.launch import host_errors
from tests.launch.conftest import Reach
from tests.launch.sshd import SSHD, Sshd, keygen

pytestmark = pytest.mark.skipif(SSHD is None, reason="no sshd; Debian: openssh-server")


@pytest.fixture
def a(servers: tuple[Sshd, Sshd]) -> Sshd:
    return servers[0]


async def refusal(reach: Reach, server: Sshd, kind: type[PdtestError], **settings: Any) -> str:
    with pytest.raises(kind) as caught:
        await reach(server.host(**settings))
    assert type(caught.value) is kind
    assert caught.value.next_step
    return str(caught.value)


async def test_a_host_where_nobody_listens(a: Sshd, reach: Reach) -> None:
    with socket.create_server((a.address, 0)) as free:
        port = free.getsockname()[1]
    said = await refusal(reach, a, host_errors.HostUnreachable, port=port)
    assert "host 'a' cannot be reached" in said
    assert f"{a.address}:{port}" in said
    assert "refused" in said


async def test_a_name_that_nobody_knows(a: Sshd, reach: Reach) -> None:
    said = await refusal(reach, a, host_errors.HostUnreachable, host="no-such-host.invalid")
    assert "correct hosts.a.ssh.host" in said


async def test_a_host_that_says_nothing(a: Sshd, reach: Reach) -> None:
    with socket.create_server((a.address, 0)) as mute:
        port = mute.getsockname()[1]
        said = await refusal(reach, a, host_errors.HostUnreachable, port=port, connect_timeout_s=0.3)
    assert "no answer for 0.3 s" in said


async def test_a_key_that_is_not_let_in(a: Sshd, reach: Reach, tmp_path: Path) -> None:
    other = keygen(tmp_path / "other")
    said = await refusal(reach, a, host_errors.KeyRefused, keys=[str(other)])
    assert "with none of our keys" in said
    assert str(other) in said
    assert "authorized_keys" in said


async def test_a_key_that_is_not_there(a: Sshd, reach: Reach, tmp_path: Path) -> None:
    said = await refusal(reach, a, host_errors.HostError, keys=[str(tmp_path / "none")])
    assert f"there is no file {tmp_path / 'none'}" in said


async def test_a_key_that_wants_a_passphrase(a: Sshd, reach: Reach, tmp_path: Path) -> None:
    locked = keygen(tmp_path / "locked", passphrase="words")  # noqa: S106
    said = await refusal(reach, a, host_errors.HostError, keys=[str(locked)])
    assert "passphrase" in said.lower()


async def test_a_host_key_that_nobody_knows(a: Sshd, reach: Reach, tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    known.touch()
    said = await refusal(reach, a, host_errors.HostKeyUnknown, known_hosts=str(known))
    assert fingerprint(a.directory / "host_key.pub") in said
    assert f"ssh-keyscan -p {a.port} {a.address} >> {known}" in said


async def test_a_host_key_that_changed(a: Sshd, reach: Reach, tmp_path: Path) -> None:
    known = a.vouch(tmp_path / "known_hosts", by=keygen(tmp_path / "former"))
    said = await refusal(reach, a, host_errors.HostKeyChanged, known_hosts=str(known))
    assert "another key than the one in known_hosts" in said
    assert f"ssh-keygen -R '[{a.address}]:{a.port}' -f {known}" in said


async def test_an_interpreter_that_is_not_there(a: Sshd, reach: Reach) -> None:
    said = await refusal(reach, a, host_errors.NoPython, python="/no/such/python")
    assert "'/no/such/python' on host 'a' does not start" in said
    assert "not found" in said or "No such file" in said


async def test_an_interpreter_that_is_too_old(a: Sshd, reach: Reach, tmp_path: Path) -> None:
    old = tmp_path / "python2"
    # What a Python 2.7 does with the start command, short of being one.
    old.write_text("#!/bin/sh\necho 'pdtest-python-too-old 2.7.18' >&2\nexit 1\n")
    old.chmod(0o755)
    said = await refusal(reach, a, host_errors.NoPython, python=str(old))
    assert "is Python 2.7.18, which is too old" in said


@pytest.mark.parametrize("place", ["/sys/pdtest", "/proc/pdtest"])
async def test_a_workdir_that_cannot_be_made(a: Sshd, reach: Reach, place: str) -> None:
    said = await refusal(reach, a, host_errors.WorkdirUnusable, workdir=place)
    assert "workdir on host 'a'" in said
    assert place in said


async def test_a_workdir_without_room(a: Sshd, reach: Reach) -> None:
    said = await refusal(reach, a, host_errors.WorkdirUnusable, free_mib=1 << 40)
    assert "too little room" in said
    assert "MiB are free" in said


async def test_what_a_shell_says_first_is_passed_over(a: Sshd, reach: Reach, tmp_path: Path) -> None:
    chatty = tmp_path / "python"
    chatty.write_text(f'#!/bin/sh\necho "Welcome to this host"\nexec {a.host().ssh.python} "$@"\n')  # type: ignore[union-attr]
    chatty.chmod(0o755)
    outpost = await reach(a.host(python=str(chatty)))
    assert (await outpost.take(1, "127.0.0.1")) > 0


async def test_an_alias_of_ssh_config(a: Sshd, reach: Reach, tmp_path: Path) -> None:
    settings = a.host().ssh
    assert settings is not None
    config = tmp_path / "config"
    config.write_text(
        f"Host gpu-box\n  HostName {a.address}\n  Port {a.port}\n  User {settings.user}\n"
        f"  IdentityFile {a.key}\n  UserKnownHostsFile {a.directory / 'known_hosts'}\n"
    )
    left_to_config = {"port": None, "user": None, "keys": (), "known_hosts": None}
    outpost = await reach(a.host(**left_to_config, host="gpu-box", config=str(config)))
    assert outpost.python


async def test_by_way_of_another_host(servers: tuple[Sshd, Sshd], reach: Reach, tmp_path: Path) -> None:
    a, b = servers
    settings = a.host().ssh
    assert settings is not None
    known = tmp_path / "known_hosts"
    known.write_text("".join((one.directory / "known_hosts").read_text() for one in servers))
    config = tmp_path / "config"
    config.write_text(
        f"Host *\n  IdentityFile {a.key}\n  UserKnownHostsFile {known}\n  User {settings.user}\n"
        f"Host inner\n  HostName {b.address}\n  Port {b.port}\n"
    )
    left_to_config = {"port": None, "user": None, "keys": (), "known_hosts": None}
    jump = f"{settings.user}@{a.address}:{a.port}"
    before = (a.directory / "sshd.log").read_text().count("Accepted publickey")

    outpost = await reach(b.host(**left_to_config, host="inner", config=str(config), jump=jump))

    assert outpost.python
    assert (a.directory / "sshd.log").read_text().count("Accepted publickey") == before + 1


async def test_a_key_of_the_agent(
    a: Sshd, reach: Reach, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # without keys of its own
    with agent(tmp_path / "agent.sock") as socket_path:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket_path))
        said = await refusal(reach, a, host_errors.KeyRefused, keys=())
        assert "a key of ~/.ssh or of the agent" in said
        add_to_agent(a.key)
        outpost = await reach(a.host(keys=()))
        assert outpost.python


def fingerprint(key: Path) -> str:
    """As OpenSSH shows it."""
    told = subprocess.run(["ssh-keygen", "-lf", str(key)], capture_output=True, text=True, check=True)
    return told.stdout.split()[1]


def add_to_agent(key: Path) -> None:
    subprocess.run(["ssh-add", "-q", str(key)], check=True, timeout=20)


@contextmanager
def agent(path: Path) -> Iterator[Path]:
    with subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL) as process:
        try:
            while not path.exists():
                assert process.poll() is None
                os.sched_yield()
            yield path
        finally:
            process.terminate()
