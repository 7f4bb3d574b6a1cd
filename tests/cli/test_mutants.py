from __future__ import annotations

import json
import subprocess
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from pdtest.cli.main import app
from pdtest.kills.catalogue import CATALOGUE, QUICK


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


def test_what_is_planted_is_the_environments_to_say(asked: list[list[str]]) -> None:
    assert run("--env", "mine") == 1
    assert names(asked[0]) == ["usual"]
    assert "--env=mine" in asked[0]


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
