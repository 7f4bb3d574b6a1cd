from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from pdtest.client.prompts import Prompts

from .conftest import Project

ASYNC = """
{mark}
async def test_handoff(handoff, judge, prompts):
    await judge(await handoff(ask(prompts)))

def test_prompts(prompts, endpoints, environment):
    assert set(endpoints) == {{"prefill", "decode", "colocated"}}
    assert environment.name == "doubles"
    print("prompt", prompts.tokens(4))
"""


def test_a_project_that_does_not_use_it_sees_nothing_of_it(project: Project) -> None:
    project.write("test_plain.py", "def test_plain(): pass\n")

    result = project.run(env=None)

    assert result.ret == pytest.ExitCode.OK
    lines = [line for line in result.stdout.lines if "pdtest" in line]
    assert all(line.startswith(("plugins:", "rootdir:")) for line in lines), lines
    assert not (project.path / ".pdtest").exists()


@pytest.mark.parametrize(("mode", "mark"), [("auto", ""), ("strict", "@pytest.mark.asyncio")])
def test_a_project_of_one_file_one_environment(project: Project, mode: str, mark: str) -> None:
    project.environment()
    project.ini("pdtest_default_env = doubles", asyncio_mode=mode)
    project.tests(ASYNC.format(mark=mark))

    result = project.run(env=None)

    result.assert_outcomes(passed=2)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.re_match_lines([r"^pdtest: environment doubles, seed \w+$"])


def test_a_seed_repeats_the_prompts(project: Project) -> None:
    project.environment()
    project.tests("def test_it(request, prompts):\n    print('prompt', prompts.tokens(4))\n")

    outputs = [project.run("-s", "--pdtest-seed", "abc").stdout for _ in range(2)]

    nodeid = "test_it.py::test_it[doubles]"
    expected = Prompts(seed=f"abc:{nodeid}", vocab_size=4096).tokens(4)
    for output in outputs:
        output.fnmatch_lines(["pdtest: environment doubles, seed abc", f"*prompt {expected}"])


def test_a_junit_file_of_ones_own_is_left_where_it_was_asked_for(project: Project) -> None:
    project.environment(requires={"packages": ["nowhere_to_be_found"]})
    project.tests("def test_it(cluster): pass\n")

    project.run("--junitxml", "mine.xml")

    assert (project.path / "mine.xml").is_file()
    assert not (project.latest / "junit.xml").exists()


def test_two_runs_at_once_do_not_collide(project: Project) -> None:
    project.environment()
    project.tests(ASYNC.format(mark=""))

    both = [
        subprocess.Popen(project.command(), cwd=project.path, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=40)[0] for process in both]

    assert [process.returncode for process in both] == [0, 0], outputs
    runs = [run for run in (project.path / ".pdtest/runs").iterdir() if not run.is_symlink()]
    assert len(runs) == 2
    urls = [_urls(run / "events.jsonl") for run in runs]
    assert len(urls[0] | urls[1]) == 6


def _urls(journal: Path) -> set[str]:
    events = map(json.loads, journal.read_text(encoding="utf-8").splitlines())
    return {event["url"] for event in events if event["kind"] == "MemberStarting"}
