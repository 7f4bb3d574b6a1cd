"""Clusters that stand before pytest comes, and after it has gone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner, Result

from pdtest.cli.main import app

from .conftest import Project, member

TEST = """
async def test_it(handoff, judge, prompts):
    await judge(await handoff(ask(prompts)))
"""
WRONG = """
async def test_it(handoff, judge, prompts):
    await judge(await handoff(ask(prompts, wrong_token=1)))
"""


@pytest.fixture
def standing(project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """A project whose cluster stands."""
    monkeypatch.chdir(project.path)
    project.environment()
    done = pdtest("up", "doubles")
    assert done.exit_code == 0, done.output
    yield project
    pdtest("down", "--all")


def pdtest(*arguments: str) -> Result:
    """The command."""
    return CliRunner().invoke(app, arguments)


def members() -> dict[str, dict[str, Any]]:
    """What `ps` tells of the members of the one cluster."""
    (row,) = json.loads(pdtest("ps", "--json").stdout)
    return {one["name"]: one for one in row["members"]}


def test_pytest_uses_what_stands_and_leaves_it(standing: Project) -> None:
    standing.tests(TEST)
    before = members()

    result = standing.run()

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["using doubles, which stands"])
    assert members() == before
    starts = {
        event["member"]: event["pid"] for event in standing.events() if event["kind"] == "MemberStarting"
    }
    assert starts == {name: one["pid"] for name, one in before.items()}


def test_what_changed_is_started_anew_and_nothing_else(standing: Project) -> None:
    standing.tests(TEST)
    before = members()
    changed = {role: member(role) for role in ("prefill", "colocated")}
    standing.environment(members=changed | {"decode": member("decode", max_model_len=256)})

    result = standing.run()

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["using doubles, which stands; started anew, since changed: decode"])
    assert [name for name, one in members().items() if one["pid"] != before[name]["pid"]] == ["decode"]


def test_code_that_changed_starts_its_member_anew(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.path)
    connector = project.write("mine/connector.py", "version = 1\n")
    mine = member("decode") | {"code": ["mine"]}
    project.environment(members={role: member(role) for role in ("prefill", "colocated")} | {"decode": mine})
    project.tests(TEST)
    assert pdtest("up", "doubles").exit_code == 0
    before = members()
    try:
        connector.write_text("version = 2\n")
        project.run().assert_outcomes(passed=1)

        changed = [name for name, one in members().items() if one["pid"] != before[name]["pid"]]
        assert changed == ["decode"]
    finally:
        pdtest("down")


def test_other_members_need_another_cluster(standing: Project) -> None:
    standing.tests(TEST)
    before = members()
    roles = {"prefill": "prefill", "decode": "decode", "reference": "colocated"}
    standing.environment(members={name: member(role) for name, role in roles.items()})

    result = standing.run()

    result.assert_outcomes(passed=1)
    assert {"prefill", "decode", "reference"} == set(members())
    assert not {one["pid"] for one in before.values()} & {one["pid"] for one in members().values()}


def test_a_member_that_died_meanwhile_is_started_anew(standing: Project) -> None:
    standing.tests(TEST)
    os.kill(members()["decode"]["pid"], signal.SIGKILL)

    standing.run().assert_outcomes(passed=1)

    assert members()["decode"]["generation"] == 2


def test_two_runs_do_not_use_it_at_once(standing: Project) -> None:
    standing.tests("import time\ndef test_it(cluster):\n    print('go', flush=True)\n    time.sleep(30)\n")
    first = subprocess.Popen(standing.command("-s"), cwd=standing.path, stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    while first.stdout.readline() != "go\n":
        pass
    try:
        result = standing.run("--cluster-wait=0")

        result.assert_outcomes(errors=1)
        result.stdout.fnmatch_lines(["*in use: 'doubles' is used by somebody else", f"*process {first.pid}*"])
    finally:
        first.kill()
        first.communicate()


def test_who_was_killed_uses_it_no_more(standing: Project) -> None:
    standing.tests("import os, signal\ndef test_it(cluster):\n    os.kill(os.getpid(), signal.SIGKILL)\n")
    subprocess.run(standing.command(), cwd=standing.path, check=False, capture_output=True)
    standing.tests(TEST)

    standing.run("--cluster-wait=5").assert_outcomes(passed=1)


def test_fresh_leaves_it_alone(standing: Project) -> None:
    standing.tests(TEST)

    result = standing.run("--fresh")

    result.assert_outcomes(passed=1)
    assert len([event for event in standing.events() if event["kind"] == "MemberStarting"]) == 3


def test_a_keeper_that_is_killed_takes_its_members_along(standing: Project) -> None:
    pids = [one["pid"] for one in members().values()]
    (row,) = json.loads(pdtest("ps", "--json").stdout)

    os.kill(row["keeper"], signal.SIGKILL)

    _gone, alive = psutil.wait_procs(
        [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout=20
    )
    assert not alive
    assert json.loads(pdtest("ps", "--json").stdout) == []


def test_keep_leaves_the_cluster_of_a_failed_test(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.path)
    project.environment()
    project.tests(WRONG)

    result = project.run("--keep")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["doubles is left running (--keep)", "*pdtest down doubles"])
    assert {one["state"] for one in members().values()} == {"ready"}
    assert pdtest("down").exit_code == 0


def test_keep_leaves_nothing_where_all_passed(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.path)
    project.environment()
    project.tests(TEST)

    project.run("--keep").assert_outcomes(passed=1)

    assert pdtest("ps").stdout == "no cluster stands; 'pdtest up ENV' starts one\n"
