"""`pytest -n`: one run, one cluster of each environment, however many workers."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time

import pytest

from .conftest import Project, member

TESTS = """
import os

async def test_one(handoff, judge, prompts):
    await judge(await handoff(ask(prompts)))

async def test_two(handoff, judge, prompts):
    await judge(await handoff(ask(prompts)))

def test_who(cluster):
    print("pids", sorted(member.process.pid for member in cluster.members.values()))
"""


def run(project: Project, *arguments: str) -> pytest.RunResult:
    """Pytest with two workers, as a process of its own."""
    return project.pytester.run(*project.command("-n", "2", *arguments), timeout=120)


def test_workers_share_one_cluster_and_what_they_wrote_is_put_together(project: Project) -> None:
    # Somebody who looks ten times a second must get to see a start.
    members = {role: member(role, loads_s=1) for role in ("prefill", "decode", "colocated")}
    project.environment(members=members)
    project.tests(TESTS)

    result = run(project, "-v", "-rA")

    result.assert_outcomes(passed=3)
    starts = [event["member"] for event in project.events() if event["kind"] == "MemberStarting"]
    assert sorted(starts) == ["colocated", "decode", "prefill"]
    result.stdout.re_match_lines(
        [r"starting doubles$", r"\[ +\d+\.\ds\] decode: ready", r"3 members ready in \d.*s"]
    )
    workers = set(re.findall(r"\[(gw\d)\].*PASSED test_it.py::test_(?:one|two|who)", str(result.stdout)))
    assert len(workers) == 1, "tests of one environment go to one worker"

    verdicts = json.loads((project.latest / "verdicts.json").read_text(encoding="utf-8"))
    assert [verdict["ruling"] for verdict in verdicts] == ["pass", "pass"]
    kinds = [event["kind"] for event in project.events()]
    assert kinds.count("MemberStopped") == 3
    assert kinds.count("HandoffFinished") == 2
    result.stdout.fnmatch_lines([f"pdtest: seed *, run directory *{project.latest.name}"])
    assert not list(project.latest.glob("events-*"))


def test_members_end_when_their_tests_are_over(project: Project) -> None:
    project.environment("one")
    project.environment("two")
    project.tests(
        "import pathlib, psutil\n"
        "def test_it(cluster):\n"
        "    told, pids = pathlib.Path('pids'), {one.process.pid for one in cluster.members.values()}\n"
        "    before = told.read_text().split() if told.exists() else []\n"
        "    assert not [pid for pid in before if psutil.pid_exists(int(pid))]\n"
        "    told.write_text(' '.join(map(str, pids)))\n"
    )

    result = project.pytester.run(*project.command("-n", "1", "--env", "two", env="one"), timeout=120)

    result.assert_outcomes(passed=2)
    kinds = [event["kind"] for event in project.events()]
    assert kinds.count("MemberStopped") == 6


def test_a_seed_gives_workers_the_prompts_that_one_process_gets(project: Project) -> None:
    project.environment()
    project.tests("def test_it(cluster, prompts):\n    print('prompt', prompts.tokens(4))\n")

    outputs = [
        project.pytester.run(*project.command("-rA", "--pdtest-seed", "abc", *more), timeout=60)
        for more in ((), ("-n", "1"))
    ]

    prompts = [re.findall(r"prompt .*\d.*", str(output.stdout)) for output in outputs]
    assert prompts[0]
    assert prompts[0] == prompts[1]


def test_a_failure_says_under_workers_what_it_says_without(project: Project) -> None:
    project.environment()
    project.tests(
        "async def test_it(handoff, judge, prompts):\n"
        "    await judge(await handoff(ask(prompts, wrong_token=1)))\n"
    )

    result = run(project)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*FAIL*", "*replay.sh*"])


def test_a_death_restarts_the_member_for_the_next_test(project: Project) -> None:
    project.environment()
    project.tests(
        "async def test_it(handoff, judge, prompts):\n"
        "    await judge(await handoff(ask(prompts, dies=3)))\n"
        "async def test_next(handoff, judge, prompts):\n"
        "    await judge(await handoff(ask(prompts)))\n"
    )

    result = run(project)

    result.assert_outcomes(failed=1, passed=1)
    assert "decode died" in str(result.stdout)


def test_a_controller_that_is_killed_leaves_nothing(project: Project) -> None:
    project.environment()
    project.tests("import time\ndef test_it(cluster):\n    open('up', 'w').close()\n    time.sleep(60)\n")
    running = subprocess.Popen(project.command("-n", "2"), cwd=project.path, stdout=subprocess.DEVNULL)
    _until((project.path / "up").exists, 60)

    running.send_signal(signal.SIGKILL)
    running.wait()

    _until(lambda: not project.survivors(), 20)


def test_planted_bugs_have_an_order_of_their_own(project: Project) -> None:
    project.environment()
    project.tests(TESTS)

    result = run(project, "--mutants=kv-zeroed")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*one at a time*"])


def _until(condition: object, within_s: float) -> None:
    assert callable(condition)
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
