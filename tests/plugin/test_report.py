from __future__ import annotations

import json
from typing import Any

import pytest

from .conftest import Project

TESTS = """
async def test_passes(handoff, judge, prompts):
    await judge(await handoff(ask(prompts)))

async def test_wrong_token(handoff, judge, prompts):
    await judge(await handoff(ask(prompts, wrong_token=12)))

def test_needs_no_cluster(request):
    request.node.user_properties.append(("answer", 42))

import pytest
@pytest.mark.skip(reason="not today")
def test_skipped(cluster):
    pass

@pytest.fixture
def broken():
    raise RuntimeError("no such thing")

def test_in_setup(cluster, broken):
    pass
"""


def test_a_session_leaves_a_report(project: Project) -> None:
    project.environment()
    project.tests(TESTS)
    result = project.run("--report", "--xray=off", "-p", "no:randomly")
    page = project.latest / "report.html"
    result.stdout.fnmatch_lines([f"pdtest: report {page}"])
    text = page.read_text(encoding="utf-8")
    assert "test_wrong_token" in text
    assert "prefill prefill after" in text
    told = {test["test"].partition("::")[2].partition("[")[0]: test for test in _json(project)["tests"]}
    assert {name: test["outcome"] for name, test in told.items()} == {
        "test_passes": "passed",
        "test_wrong_token": "failed",
        "test_needs_no_cluster": "passed",
        "test_skipped": "skipped",
        "test_in_setup": "error",
    }
    wrong = told["test_wrong_token"]
    assert any(finding["check"] == "parity" for claim in wrong["claims"] for finding in claim["findings"])
    assert [title for title, _ in wrong["sections"]] == ["pdtest"]
    assert wrong["journeys"]
    assert wrong["replay"].endswith("replay.sh")
    assert told["test_passes"]["sections"] == []
    assert told["test_needs_no_cluster"]["properties"] == {"answer": 42}
    assert told["test_in_setup"]["message"] == "RuntimeError: no such thing"
    assert told["test_skipped"]["message"] == "Skipped: not today"


def test_the_ini_file_names_the_report(project: Project) -> None:
    project.ini("pdtest_report = kept/night.html")
    project.environment()
    project.tests(
        "async def test_passes(handoff, judge, prompts):\n    await judge(await handoff(ask(prompts)))\n"
    )
    project.run().assert_outcomes(passed=1)
    assert sorted(file.name for file in (project.path / "kept").iterdir()) == [
        "night.html",
        "night.json",
        "night.md",
    ]


def test_a_folder_of_tests_is_no_report(project: Project) -> None:
    project.environment()
    project.tests("def test_it():\n    pass\n")
    result = project.run("--report", "test_it.py")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--report was given 'test_it.py', which does not end with .html", "*next*"])


def _json(project: Project) -> dict[str, list[dict[str, Any]]]:
    data: dict[str, list[dict[str, Any]]] = json.loads(
        (project.latest / "report.json").read_text(encoding="utf-8")
    )
    return data
