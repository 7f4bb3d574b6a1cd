from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from pdtest.cli.at_hand import at_hand
from pdtest.cli.main import app


def pdtest(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def standing() -> Iterator[None]:
    """Not all of it: two members are quicker up than four."""
    Path("one.yaml").write_text(
        "extends: embedded\nmembers: {colocated: null, proxy: null}\n"
        "reference: {kind: borrowed, member: decode}\n"
    )
    pdtest("up", "./one.yaml")
    yield
    pdtest("down")


def test_an_environment_as_it_would_be() -> None:
    assert pdtest("config", "embedded") == pdtest("env", "show", "embedded")
    told = json.loads(pdtest("config", "embedded", "--json"))
    assert not told["running"]
    assert told["members"]["decode"]["role"] == "decode"


def test_a_member_as_it_would_be_started() -> None:
    assert "pdtest.embedded.engine" in pdtest("config", "embedded", "decode")
    told = json.loads(pdtest("config", "embedded", "decode", "--json"))
    assert not told["running"]
    assert "pdtest.embedded.engine" in told["argv"]


def test_of_a_cluster_that_stands_it_is_as_it_runs(standing: None) -> None:
    member, _ = json.loads(pdtest("ps", "--json"))[0]["members"]

    told = json.loads(pdtest("config", "one", "prefill", "--json"))

    assert told["running"]
    assert told["url"] == member["url"]
    assert f"--port {told['ports']['http']}" in told["files"]["command.sh"]
    # Neither its file nor what is named: it is the one at hand.
    Path("one.yaml").unlink()
    shown = pdtest("config")
    assert shown.startswith("# as it runs, since ")
    assert list(yaml.safe_load(shown)["members"]) == ["prefill", "decode"]
    assert "exec" in pdtest("config", "one", "prefill")
    assert "no member 'proxy'" in pdtest("config", "one", "proxy", code=2)


def test_misuse() -> None:
    assert "did you mean 'embedded'?" in pdtest("config", "embeded", code=2)
    assert "did you mean 'decode'?" in pdtest("config", "embedded", "decod", code=2)


@pytest.mark.parametrize("section", ["tool.pytest", "tool.pytest.ini_options"])
def test_at_hand_is_what_pytest_takes_by_default(project: Path, section: str) -> None:
    assert at_hand(project, project / ".pdtest") == "embedded"
    (project / "pyproject.toml").write_text(f'[{section}]\npdtest_default_env = "mine"\n')
    assert at_hand(project, project / ".pdtest") == "mine"
