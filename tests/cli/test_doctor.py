"""`pdtest doctor`, on the machine that the tests run on."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pdtest.cli.main import app
from pdtest.launch.claims import Claims
from pdtest.launch.lease import PortLeases
from tests.launch.sshd import SSHD, Sshd, servers

__all__ = ["servers"]

ATTACHED = """\
model: {{path: somewhere, dtype: float32, block_size: 32, max_model_len: 2048}}
connector: {{contract: [nixl]}}
reference: {{kind: borrowed, member: decode}}
members:
  prefill: {{role: prefill, service: vllm, launcher: attach, url: "http://127.0.0.1:{port}"}}
  decode: {{role: decode, service: vllm, launcher: attach, url: "http://127.0.0.1:{port}"}}
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project, on a machine whose leases nobody else knows."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PDTEST_LEASE_DIR", str(tmp_path / "leases"))
    return tmp_path


def doctor(*arguments: str, code: int = 0) -> list[dict[str, Any]]:
    result = CliRunner().invoke(app, ["doctor", "--json", *arguments])
    assert result.exit_code == code, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)["findings"]
    assert all(finding["remedy"] for finding in found if finding["state"] != "fine")
    return found


def of(area: str, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [finding for finding in found if finding["area"] == area]


def write(project: Path, text: str) -> str:
    (project / "mine.yaml").write_text(text)
    return "./mine.yaml"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_the_machine_alone() -> None:
    found = doctor()
    assert {"memory", "disk", "leases"} <= {finding["area"] for finding in found}


def test_an_environment_that_can_run_is_fine_and_nothing_is_left(project: Path) -> None:
    found = doctor("embedded")
    assert not [finding for finding in found if finding["state"] == "wrong"]
    assert of("members", found)
    assert not [*(project / "leases").glob("*.json")]
    assert not (project / ".pdtest").exists()


def test_what_an_environment_lacks_ends_with_1_and_says_what_to_do(project: Path) -> None:
    lacking = "extends: embedded\nrequires: {executables: [{need: nowhere, why: build it}]}\n"
    (finding,) = of("programs", doctor(write(project, lacking), code=1))
    assert finding["fact"] == "the program 'nowhere' is not on PATH"
    assert finding["remedy"] == "build it"


def test_a_model_that_is_not_there(project: Path) -> None:
    text = "extends: embedded\nmodel: {path: ./absent, make: null}\n"
    (finding,) = of("model", doctor(write(project, text), code=1))
    assert "there is no directory" in finding["fact"]


def test_a_fixed_port_that_another_run_holds_names_it(project: Path) -> None:
    port = free_port()
    mine = write(project, f"extends: embedded\nmembers: {{decode: {{ports: {{http: {port}}}}}}}\n")
    assert [finding["state"] for finding in of("ports", doctor(mine))] == ["fine"]

    leases = PortLeases("somebody-else")
    leases.claim(port)
    leases.take(2)
    try:
        found = doctor(mine, code=1)
    finally:
        leases.release_all()

    assert "run somebody-else" in of("ports", found)[0]["fact"]
    (lease,) = of("leases", found)
    assert str(port) in lease["fact"].partition(": held by run somebody-else")[0]


def test_a_device_that_another_run_holds_names_it(project: Path) -> None:
    host, member = "{local: {devices: {kind: core, ids: [0]}}}", "{decode: {devices: [0]}}"
    mine = write(project, f"extends: embedded\nhosts: {host}\nmembers: {member}\n")
    assert not of("devices", doctor(mine))

    claims = Claims("somebody-else", project / "leases")
    claims.take("core-0")
    try:
        (finding,) = of("devices", doctor(mine, code=1))
    finally:
        claims.release_all()

    assert "'decode' asks for core 0, which is held by run somebody-else" in finding["fact"]


def test_members_that_run_already_are_asked(project: Path) -> None:
    found = of("attached", doctor(write(project, ATTACHED.format(port=free_port())), code=1))
    assert ["does not answer" in finding["fact"] for finding in found] == [True, True]


def test_for_people_each_finding_stands_above_what_to_do(project: Path) -> None:
    lacking = "extends: embedded\nrequires: {variables: [NOT_SET_ANYWHERE]}\n"
    shown = CliRunner().invoke(app, ["doctor", write(project, lacking)]).output
    assert "wrong  variables  the environment variable NOT_SET_ANYWHERE is not set\n" in shown
    assert "-> export it" in shown


def test_an_unknown_environment_is_misuse() -> None:
    result = CliRunner().invoke(app, ["doctor", "embeded"])
    assert result.exit_code == 2
    assert "did you mean 'embedded'?" in result.output


@pytest.mark.skipif(SSHD is None, reason="no sshd; Debian: openssh-server")
def test_hosts_are_reached_and_their_clocks_read(
    servers: tuple[Sshd, Sshd], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ssh = servers[0].host().ssh
    assert ssh is not None
    monkeypatch.setenv("PREFILL_HOST", "127.0.0.2")
    monkeypatch.setenv("DECODE_HOST", "127.0.0.3")
    there = ssh.model_dump(mode="json", exclude_none=True)
    hosts = {"prefill-host": {"ssh": there}, "decode-host": {"ssh": there | {"port": free_port()}}}
    mine = write(project, f"extends: embedded-two-hosts\nhosts: {json.dumps(hosts)}\n")

    found = doctor(mine, code=1)

    reached, refused = of("hosts", found)
    assert reached["fact"].startswith("'prefill-host' is reached")
    assert "host 'decode-host' cannot be reached" in refused["fact"]
    (clock,) = of("clock", found)
    assert clock["fact"].startswith("'prefill-host' is ")
    assert not [*(servers[0].workdir / "runs").iterdir()], os.listdir(servers[0].workdir)  # noqa: PTH208
