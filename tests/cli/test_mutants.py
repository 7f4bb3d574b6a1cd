from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from pdtest.cli.main import app
from pdtest.kills.catalogue import CATALOGUE, QUICK

_ENVIRONMENT = f"""
extends: {Path(__file__).parents[2] / "environments" / "embedded.yaml"}
mutants:
  only: [params-reversed, params-lost]
  tests: together or branches
"""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What pytest is started with."""
    started: list[list[str]] = []

    def run(argv: list[str], **_: Any) -> SimpleNamespace:
        started.append(argv[3:])
        return SimpleNamespace(returncode=1)

    monkeypatch.setattr(subprocess, "run", run)
    return started


def run(*arguments: str) -> int:
    return CliRunner().invoke(app, ["mutants", "run", *arguments]).exit_code


def names(arguments: list[str]) -> list[str]:
    (given,) = [one for one in arguments if one.startswith("--mutants=")]
    return given.removeprefix("--mutants=").split(",")


def test_all_are_planted_on_the_embedded_stack(asked: list[list[str]]) -> None:
    assert run() == 1
    assert names(asked[0]) == [mutant.name for mutant in CATALOGUE]
    assert "-k" not in asked[0]


def test_an_environment_says_what_is_planted_in_it(
    asked: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "environments").mkdir()
    (tmp_path / "environments" / "mine.yaml").write_text(_ENVIRONMENT, encoding="utf-8")
    run("--env", "mine")
    assert names(asked[0]) == ["params-lost", "params-reversed"]
    assert asked[0][-2:] == ["-k", "together or branches"]


def test_the_command_line_says_more(asked: list[list[str]]) -> None:
    run("--env", "vllm-cpu-mutants", "--only", "quick", "--", "-k", "together")
    assert set(names(asked[0])) == set(QUICK)
    assert asked[0][-2:] == ["-k", "together"]


def test_a_name_that_is_none(asked: list[list[str]]) -> None:
    assert run("--only", "params-lots") != 0
    assert not asked


def test_the_list_is_for_programs_too() -> None:
    shown = CliRunner().invoke(app, ["mutants", "list", "--json"]).stdout
    assert [row["name"] for row in json.loads(shown)] == [mutant.name for mutant in CATALOGUE]
