from __future__ import annotations

import json

import pytest

from .conftest import Project

TESTS = """
async def test_judges(route, handoff, judge, prompts):
    await judge(await handoff(ask(prompts), route=route))

async def test_looks_at_nothing(handoff, prompts):
    await handoff.send(ask(prompts))
"""


@pytest.fixture
def suite(project: Project) -> Project:
    project.environment()
    project.tests(TESTS, "suites/correctness/test_it.py")
    return project


def test_each_mutant_is_killed_by_the_test_that_looks(suite: Project) -> None:
    result = suite.run("--mutants=params-reversed,params-lost", "--kill-table=kills.json")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "*kill table*",
            "params-lost *F2,F9 *0.* s judges[[]client[]]",
            "params-reversed *F1 *0.* s judges[[]client[]]",
            "2 of 2 mutants killed on doubles in * s",
        ]
    )
    table = json.loads((suite.path / "kills.json").read_text(encoding="utf-8"))
    assert table == json.loads((suite.latest / "kills.json").read_text(encoding="utf-8"))
    assert (suite.latest / "kills.png").read_bytes() == (suite.path / "kills.png").read_bytes()
    cells = {row["name"]: row["suites"]["correctness"] for row in table["mutants"]}
    assert "parity: corruption" in cells["params-reversed"]["located"]
    assert "expected an object, seen none" in cells["params-lost"]["located"]
    # Both tests with nothing planted, and one kill each: nothing more is run on the dead.
    assert result.parseoutcomes()["passed"] == 2


def test_a_survivor_fails_the_run(suite: Project) -> None:
    result = suite.run("--mutants=params-reversed", "-k", "looks_at_nothing")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["params-reversed *survived", "0 of 1 mutants killed*", "survived: params-*"])


def test_a_false_alarm_fails_the_run(suite: Project) -> None:
    text = TESTS + "\nasync def test_cries_wolf(handoff):\n    raise AssertionError\n"
    suite.tests(text, "suites/correctness/test_it.py")
    result = suite.run("--mutants=params-reversed")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["1 of 1 mutants killed*", "false alarm, with no bug planted: *cries_wolf*"])


def test_trouble_of_a_tests_own_kills_nothing(suite: Project) -> None:
    suite.tests(
        "async def test_stumbles(handoff, mutant):\n    if mutant != 'healthy':\n        {}['x']\n",
        "suites/correctness/test_it.py",
    )
    result = suite.run("--mutants=params-reversed")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["params-reversed *broken", "survived: params-reversed*KeyError*"])


def test_what_an_environment_cannot_have_is_said(suite: Project) -> None:
    result = suite.run("--mutants=kv-swapped,proxy-finish-lost,params-lost")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "1 of 1 mutants killed*",
            "1 not planted, since decode has no*",
            "1 not planted, since no proxy has*",
        ]
    )


def test_the_usual_ones_and_their_tests_are_an_environments_to_say(project: Project) -> None:
    project.environment(mutants={"only": ["params-reversed"], "tests": "judges"})
    project.tests(TESTS, "suites/correctness/test_it.py")
    result = project.run("--mutants=usual")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["1 of 1 mutants killed on doubles in * s"])
    assert result.parseoutcomes()["deselected"] == 2
    # What is asked for on the command line is done.
    asked = project.run("--mutants=usual", "-k", "looks_at_nothing")
    asked.stdout.fnmatch_lines(["params-reversed *survived", "0 of 1 mutants killed*"])


def test_a_name_that_is_none(suite: Project) -> None:
    result = suite.run("--mutants=params-lots")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*did you mean 'params-lost'*"])
