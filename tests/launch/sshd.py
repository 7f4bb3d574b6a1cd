"""Real ssh servers on the loopback range: each has an address, a host key and an account file of its own."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest

from pdtest.environment.schema import Host
from pdtest.environment.ssh import Ssh

SSHD = shutil.which("sshd", path=f"/usr/sbin:{os.environ.get('PATH', '')}")
_PRIVILEGE_SEPARATION = Path("/run/sshd")


@dataclass(frozen=True, kw_only=True)
class Sshd:
    """A running server. ``directory`` holds its keys, and all that members on this host write."""

    address: str
    port: int
    directory: Path
    key: Path
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, address: str, directory: Path, key: Path) -> Self:
        """A server at ``address`` that lets ``key`` in. Its leases are in a directory of its own."""
        directory.mkdir()
        if os.getuid() == 0:
            _PRIVILEGE_SEPARATION.mkdir(exist_ok=True)
        keygen(directory / "host_key")
        (directory / "authorized_keys").write_text(key.with_suffix(".pub").read_text())
        with socket.create_server((address, 0)) as free:
            port = free.getsockname()[1]
        settings = {
            "ListenAddress": address,
            "Port": port,
            "HostKey": directory / "host_key",
            "PidFile": directory / "sshd.pid",
            "AuthorizedKeysFile": directory / "authorized_keys",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "UsePAM": "no",
            "StrictModes": "no",
            "SetEnv": f"PDTEST_LEASE_DIR={directory / 'leases'}",
        }
        config = directory / "sshd_config"
        config.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        assert SSHD is not None
        process = subprocess.Popen([SSHD, "-D", "-f", str(config), "-E", str(directory / "sshd.log")])
        server = cls(address=address, port=port, directory=directory, key=key, process=process)
        server.vouch(directory / "known_hosts")
        server._await()
        return server

    def stop(self) -> None:
        """End the server and the sessions that it has."""
        self.process.terminate()
        self.process.wait()

    def vouch(self, known_hosts: Path, *, by: Path | None = None, port: int | None = None) -> Path:
        """Write its key, or that of another, where clients look for it."""
        key = (by or self.directory / "host_key").with_suffix(".pub").read_text().split()
        known_hosts.write_text(f"[{self.address}]:{port or self.port} {key[0]} {key[1]}\n")
        return known_hosts

    def host(self, **more: Any) -> Host:
        """As an environment file describes it. Members there are reached at the usual loopback address."""
        ssh = {
            "host": self.address,
            "port": self.port,
            "user": getpass.getuser(),
            "keys": [str(self.key)],
            "known_hosts": str(self.directory / "known_hosts"),
            "config": os.devnull,
            "python": sys.executable,
            "workdir": str(self.workdir),
            "connect_timeout_s": 30.0,
        }
        return Host(ssh=Ssh.model_validate(ssh | more))

    @property
    def workdir(self) -> Path:
        """Where runs keep their things on this host."""
        return self.directory / "work"

    def _await(self) -> None:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection((self.address, self.port)).close()
            except OSError:
                assert time.monotonic() < deadline, (self.directory / "sshd.log").read_text()
                time.sleep(0.01)
            else:
                return


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Sshd, Sshd]]:
    """Two hosts. What tests start there is ended by them."""
    directory = tmp_path_factory.mktemp("hosts")
    key = keygen(directory / "id")
    with ExitStack() as stack:
        pair = []
        for name, address in (("a", "127.0.0.2"), ("b", "127.0.0.3")):
            server = Sshd.start(address, directory / name, key)
            stack.callback(server.stop)
            pair.append(server)
        yield pair[0], pair[1]


def keygen(path: Path, passphrase: str = "") -> Path:
    """A pair of keys."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", str(path)], check=True)
    return path
