"""Runs that want a device which somebody has: they wait and say for whom, or fail at once."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from pdtest.cli.main import app
from pdtest.launch.held import held

from .conftest import Project, member

TEST = "def test_it(cluster):\n    assert len(cluster.members) == 2\n"
#: A core stands for a chip, which this machine has none of: it is leased as one, unless it is `shared`.
HOSTS: dict[str, Any] = {"local": {"devices": {"kind": "core", "ids": [0]}}}


@pytest.fixture
def box(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project on a machine whose leases nobody else knows, with two environments that want one device."""
    monkeypatch.setenv("PDTEST_LEASE_DIR", str(project.path / "leases"))
    monkeypatch.chdir(project.path)
    for name in ("first", "second"):
        project.environment(
            name,
            hosts=HOSTS,
            members={"prefill": member("prefill") | {"devices": [0]}, "decode": member("decode")},
            reference={"kind": "borrowed", "member": "decode"},
        )
    return project


def pdtest(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code, result.output
    return result


@contextmanager
def begun(box: Project, *command: str) -> Iterator[subprocess.Popen[str]]:
    """A process of its own, gone afterwards; what it says comes line by line."""
    process = subprocess.Popen(
        command,
        cwd=box.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """The line with ``words``; fails when the process ends before."""
    assert process.stdout is not None
    lines = []
    while line := process.stdout.readline():
        lines.append(line)
        if words in line:
            return line
    pytest.fail(f"no '{words}' in:\n{''.join(lines)}")


def test_what_stands_is_waited_for_by_name_until_it_is_ended(box: Project) -> None:
    box.tests(TEST)
    pdtest("up", "first")
    before = {*held()}
    refused = box.run("--cluster-wait=0", env="second")
    with begun(box, *box.command(env="second")) as interrupted:
        read_until(interrupted, "waiting")
        assert {*held()} == before
        interrupted.send_signal(signal.SIGINT)
        output = interrupted.communicate(timeout=30)[0]
        assert {*held()} == before
    with begun(box, *box.command(env="second")) as waiting:
        line = read_until(waiting, "waiting")
        told = [finding["fact"] for finding in json.loads(pdtest("doctor", "--json").stdout)["findings"]]
        needed = pdtest("doctor", "second", code=1).output
        pdtest("down", "first")
        rest = waiting.communicate(timeout=60)[0]

    refused.assert_outcomes(errors=1)
    refused.stdout.fnmatch_lines(
        [
            "*device in use: another run holds core-0, which member 'prefill' of 'pytest*' asks for",
            "*seen*run first-*, process * for member 'prefill' of what 'pdtest up first' has started, *",
            "*next*--cluster-wait*",
        ]
    )
    assert interrupted.returncode == pytest.ExitCode.INTERRUPTED
    assert "Traceback" not in output
    assert "for core-0, held by run first-" in line
    assert "until 'pdtest down first'" in line
    assert any(fact.startswith("core-0; port") and "'pdtest down first'" in fact for fact in told)
    assert "'prefill' asks for core 0, which is held by run first-" in needed
    assert "1 passed" in rest
    assert waiting.returncode == 0
    assert not held()


def test_two_runs_at_once_take_turns(box: Project) -> None:
    box.tests("import time\ndef test_it(cluster):\n    time.sleep(0.5)\n")
    with begun(box, *box.command(env="first")) as one, begun(box, *box.command(env="second")) as other:
        outputs = [run.communicate(timeout=90)[0] for run in (one, other)]
    assert [one.returncode, other.returncode] == [0, 0], "\n".join(outputs)
    assert sum("waiting up to" in output for output in outputs) == 1, "\n".join(outputs)
    assert not held()


def test_environments_of_one_run_that_want_one_device_go_to_one_worker(box: Project) -> None:
    box.tests(TEST)

    result = box.pytester.run(*box.command("-n", "2", "--cluster-wait=5", "--env", "second", env="first"))

    result.assert_outcomes(passed=2)
    result.stdout.no_fnmatch_line("*waiting up to*")
    assert not held()


def test_up_waits_only_when_it_is_told_to(box: Project) -> None:
    pdtest("up", "first")
    refused = pdtest("up", "second", code=1).output
    assert "another run holds core-0" in refused
    assert "pdtest up --wait" in refused
    command = (sys.executable, "-m", "pdtest.cli", "up", "second", "--wait", "60")

    with begun(box, *command) as interrupted:
        read_until(interrupted, "held by run first-")
        interrupted.send_signal(signal.SIGINT)
        interrupted.communicate(timeout=30)
    assert [row["environment"] for row in json.loads(pdtest("ps", "--json").stdout)] == ["first"]

    with begun(box, *command) as waiting:
        read_until(waiting, "held by run first-")
        pdtest("down", "first")
        waiting.communicate(timeout=60)
    assert waiting.returncode == 0
    assert "'pdtest down second'" in str(held()["core-0"]["purpose"])
    pdtest("down", "second")
    assert not held()
