from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pdtest.cli import catalogue
from pdtest.cli.main import app
from pdtest.environment.vocabulary import Term, Vocabulary

GOOD = """\
description: two engines
marks: [gpu]
model: {path: somewhere, dtype: float32, block_size: 32, max_model_len: 2048}
connector: {contract: [nixl]}
reference: {kind: borrowed, member: decode}
members:
  prefill: {role: prefill, service: vllm}
  decode: {role: decode, service: vllm, api_key_env: API_KEY, env: {KEY: "${API_KEY:-none}"}}
"""


@pytest.fixture(autouse=True)
def vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fakes in place of the registries: these tests are about the command."""
    fake = Vocabulary(
        services={"vllm": Term(ports=lambda _: {"http": 1})},
        launchers=frozenset({"local"}),
        tampers={"nixl": frozenset()},
    )
    monkeypatch.setattr(catalogue, "vocabulary", lambda: fake)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose only environments are its own."""
    directory = tmp_path / "environments"
    directory.mkdir()
    (directory / "good.yaml").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(catalogue, "default_directories", lambda root: (root / "environments",))
    return tmp_path


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["env", *arguments])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.output


def add(project: Path, name: str, old: str, new: str) -> None:
    assert old in GOOD
    (project / "environments" / f"{name}.yaml").write_text(GOOD.replace(old, new))


def test_list_shows_each_environment_with_what_it_is() -> None:
    listed = run("list")
    for word in ("good", "gpu", "nixl", "prefill decode", "two engines"):
        assert word in listed


def test_list_shows_what_is_wrong_with_one_and_still_lists_the_others(project: Path) -> None:
    add(project, "bad", "float32", "float23")
    listed = run("list")
    assert "good" in listed
    assert "invalid: 'dtype' cannot be 'float23'" in listed


def test_list_json_is_for_programs(project: Path) -> None:
    add(project, "bad", "float32", "float23")
    bad, good = json.loads(run("list", "--json"))
    assert good["members"] == {"prefill": "prefill", "decode": "decode"}
    assert good["valid"]
    assert not bad["valid"]
    assert "bad.yaml:3:33" in bad["where"]


def test_list_without_environments_says_where_to_put_them(project: Path) -> None:
    (project / "environments" / "good.yaml").unlink()
    assert "put YAML files into ./environments" in run("list")


def test_list_takes_another_project(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert "good" in run("list", "--rootdir", str(project))


def test_show_writes_everything_out_but_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "s3cret")
    shown = run("show", "good")
    assert "name: good" in shown
    assert "ready_timeout_s: 600.0" in shown
    assert "s3cret" not in shown


def test_show_of_an_unknown_name_is_misuse_and_suggests() -> None:
    assert "did you mean 'good'?" in run("show", "goood", code=2)


def test_show_of_an_invalid_file_says_what_is_wrong(project: Path) -> None:
    add(project, "bad", "float32", "float23")
    assert "environments/bad.yaml:3:33  model.dtype" in run("show", "bad", code=1)


def test_check_passes_valid_files() -> None:
    assert run("check").split() == ["ok", "good"]


def test_check_prints_every_finding_of_every_file_and_fails(project: Path) -> None:
    add(project, "one", "float32", "float23")
    add(project, "two", "service: vllm", "service: vlm")
    checked = run("check", code=1)
    assert "'dtype' cannot be 'float23'" in checked
    assert checked.count("there is no service 'vlm'") == 2
    assert "2 of 3 invalid: one, two" in checked


def test_check_takes_names_and_paths(project: Path) -> None:
    add(project, "one", "float32", "float23")
    assert "one" not in run("check", "good", "environments/good.yaml")
    run("check", "environments/one.yaml", code=1)


def test_check_of_an_unknown_name_is_misuse() -> None:
    assert "unknown environment" in run("check", "nope", code=2)


def test_schema_goes_to_stdout_or_a_file(project: Path) -> None:
    printed = json.loads(run("schema"))
    assert printed["title"] == "pdtest environment"
    assert run("schema", "-o", "editor/schema.json") == ""
    assert json.loads((project / "editor" / "schema.json").read_text()) == printed


def test_errors_go_to_stderr() -> None:
    result = CliRunner().invoke(app, ["env", "show", "nope"])
    assert result.stdout == ""
    assert result.stderr.startswith("unknown environment: there is no environment 'nope'")


def test_brackets_in_messages_are_not_taken_for_colours(project: Path) -> None:
    add(project, "bad", "marks: [gpu]", "marks: [1]")
    assert "marks[0]" in run("check", "bad", code=1)


@pytest.mark.parametrize("command", ["list", "show", "check", "schema"])
def test_every_command_explains_itself_with_an_example(command: str) -> None:
    assert "Example:" in run(command, "--help")
