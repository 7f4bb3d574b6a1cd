from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pdtest.cluster.health import unwell

from .conftest import Project, member


def until(condition: Callable[[], object], what: str, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.02)


def test_a_failed_start_is_told_once_in_full(project: Project) -> None:
    failing = member("decode", fails="OSError: [Errno 98] Address already in use")
    project.environment(
        members={"prefill": member("prefill"), "decode": failing, "colocated": member("colocated")},
        known_issues=[{"tests": "*test_first*", "why": "an answer is wrong"}],
    )
    project.tests("".join(f"def test_{name}(cluster): pass\n" for name in ("first", "second", "third")))

    result = project.run()

    output = result.stdout.str()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(errors=3)
    assert len(re.findall(r"^start-up failed: decode died .*after its start", output, re.MULTILINE)) == 3
    assert output.count("(see the first error)") == 2
    assert output.count("| OSError: [Errno 98] Address already in use") == 1
    assert "another process listens on a port this member was given (port in use)" in output
    assert "exit code 3" in output
    assert "Traceback" not in output
    assert "fixtures.py" not in output
    in_short = re.findall(r"^ERROR test_it\.py::\S+ - start-up failed", output, re.MULTILINE)
    assert len(in_short) == 3
    assert project.survivors() == []


@pytest.mark.parametrize("found", ["[]", "['decode']"], ids=["before", "after"])
def test_a_member_that_dies_while_the_members_are_looked_at_lives_in_the_next_test(
    project: Project, monkeypatch: pytest.MonkeyPatch, found: str
) -> None:
    """Real vLLM ends some seconds after its engine did: once in a CI run exactly then."""
    monkeypatch.setattr("pdtest.plugin.run.unwell", unwell)  # what the project replaces is put back
    project.environment()
    project.tests(f"""
import os, signal, time
import pdtest.plugin.run as run

@pytest.mark.disruptive
def test_disrupts(cluster):
    decode, really = cluster.members["decode"], run.unwell

    def looked_at(members):
        unwell = really(members)
        os.kill(decode.process.pid, signal.SIGKILL)
        while decode.alive:
            time.sleep(0.01)
        run.unwell = really
        return [*unwell, *{found}]

    run.unwell = looked_at

async def test_next(cluster, handoff, judge, prompts):
    assert cluster.members["decode"].generation == 2
    await judge(await handoff(ask(prompts)))
""")

    project.run().assert_outcomes(passed=2)


def test_a_member_that_does_not_come_back_is_not_tried_again_for_every_test(project: Project) -> None:
    project.environment()
    project.tests("""
async def test_kills(cluster, decode, prompts):
    await decode.generate(ask(prompts, dies=5))

def test_next(cluster):
    pass

def test_after(cluster):
    pass
""")
    # From its second start on, decode finds something in its directory that ends it.
    project.write(
        "conftest.py",
        """
import pytest

@pytest.fixture(autouse=True)
def breaks(request):
    yield
    if "test_kills" in request.node.name:
        (decode,) = request.config.rootpath.glob(".pdtest/runs/2*/doubles/members/decode")
        (decode / "broken").touch()
""",
    )

    result = project.run()

    result.assert_outcomes(failed=1, errors=2)
    output = result.stdout.str()
    assert output.count("restarting decode") == 1
    assert "start-up failed: decode died" in output
    assert "environment not running: environment 'doubles' failed to start" in output


class Started:
    """A pytest in a process of its own."""

    def __init__(self, project: Project, *arguments: str) -> None:
        self.project = project
        self.output = project.path / "output.txt"
        with self.output.open("w") as file:
            self.process = subprocess.Popen(
                project.command(*arguments),
                cwd=project.path,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_for(self, text: str) -> None:
        until(lambda: text in self.said(), f"it says {text!r}")

    def said(self) -> str:
        return self.output.read_text(encoding="utf-8")

    def end(self, number: signal.Signals) -> int:
        os.kill(self.process.pid, number)
        return self.process.wait(timeout=30)


@pytest.fixture
def start(project: Project) -> Iterator[Callable[..., Started]]:
    running: list[Started] = []

    def begin(*arguments: str) -> Started:
        running.append(Started(project, *arguments))
        return running[-1]

    yield begin
    for started in running:
        started.process.kill()
        started.process.wait()


def test_ctrl_c_while_members_start(project: Project, start: Callable[..., Started]) -> None:
    members = {role: member(role, loads_s=60) for role in ("prefill", "decode", "colocated")}
    project.environment(members=members)
    project.tests("def test_it(cluster): pass\n")
    run = start()
    run.wait_for("colocated: starting")

    assert run.end(signal.SIGINT) == pytest.ExitCode.INTERRUPTED

    assert "KeyboardInterrupt" in run.said()
    assert "run directory" in run.said()
    assert project.survivors() == []
    assert (project.latest / "verdicts.json").is_file()


WAITS = """
import asyncio

async def test_passes(handoff, judge, prompts):
    await judge(await handoff(ask(prompts)))

async def test_waits(cluster):
    print("now waiting", flush=True)
    await asyncio.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["ctrl_c", "kill_9"])
def test_the_end_of_pytest_during_a_test_is_the_end_of_all(
    project: Project, start: Callable[..., Started], number: signal.Signals
) -> None:
    project.environment()
    project.tests(WAITS)
    run = start("-s")
    run.wait_for("now waiting")
    assert len(project.survivors()) == 3

    code = run.end(number)

    if number is signal.SIGINT:
        assert code == pytest.ExitCode.INTERRUPTED
        assert project.survivors() == []
        assert Path(project.latest / "verdicts.json").is_file()
        assert "1 passed" in run.said()
    else:
        until(lambda: not project.survivors(), "nothing is left", 5.0)


FROZEN = """
import asyncio
from pdtest.faults import Freeze

@pytest.mark.disruptive
async def test_freezes(cluster, inflict):
    async with inflict(Freeze(cluster, "decode")):
        print("now frozen", flush=True)
        await asyncio.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["ctrl_c", "kill_9"])
def test_the_end_of_pytest_is_the_end_of_what_it_froze(
    project: Project, start: Callable[..., Started], number: signal.Signals
) -> None:
    project.environment()
    project.tests(FROZEN)
    run = start("-s")
    run.wait_for("now frozen")

    run.end(number)

    if number is signal.SIGINT:
        assert [event["kind"] for event in project.events() if "Fault" in str(event["kind"])] == [
            "FaultArmed",
            "FaultVerified",
            "FaultLifted",
        ]
    until(lambda: not project.survivors(), "nothing is left", 5.0)


@pytest.mark.parametrize(("option", "at_start", "in_tests"), [("-v", True, False), ("-vv", True, True)])
def test_the_logs_of_the_members_are_shown_as_verbosely_as_asked_for(
    project: Project, option: str, *, at_start: bool, in_tests: bool
) -> None:
    project.environment(members={role: member(role) for role in ("prefill", "decode", "colocated")})
    project.tests("""
async def test_it(handoff, prompts):
    await handoff(ask(prompts, logs="said in the test"))
""")
    done = subprocess.run(
        project.command(option), cwd=project.path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout
    assert ("decode| decode loads" in done.stdout) is at_start
    assert done.stdout.count("decode| said in the test") == in_tests


def test_one_environment_after_the_other_and_each_is_started_once(project: Project) -> None:
    engines = {role: member(role) for role in ("prefill", "decode", "colocated")}
    for name in ("first", "second", "third"):
        project.environment(name, members={**engines, "proxy": member("proxy")})
    # With axes of their own, so that the same environment has another place in each test's parameters.
    project.tests(
        """
def test_plain(): pass
def test_one(cluster): pass
def test_two(cluster, route): pass
def test_three(cluster, tamper, route): pass
"""
    )

    result = project.run(
        "-q", "-k", "not three or no-params", "--env", "second", "--env", "third", env="first"
    )

    result.assert_outcomes(passed=1 + 3 * (1 + 2 + 2))
    started = [event["member"] for event in project.events() if event["kind"] == "MemberReady"]
    assert sorted(started) == sorted(["prefill", "decode", "colocated", "proxy"] * 3)
