from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pdtest.cli.main import app

TEST = "def test_right(): pass\ndef test_wrong(): assert False\n"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "suites" / "correctness").mkdir(parents=True)
    (tmp_path / "suites" / "correctness" / "test_sums.py").write_text(TEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def shown(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["run", "--show", *arguments])
    assert result.exit_code == code, result.output
    return result.output.strip()


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        ([], "pytest"),
        (["embedded"], "pytest --env=embedded"),
        (["correctness"], "pytest suites/correctness"),
        (["embedded", "correctness", "-k", "x", "-vh"], "pytest --env=embedded suites/correctness -k x -vh"),
        (["correctness/test_sums.py::test_right"], "pytest suites/correctness/test_sums.py::test_right"),
        (["-m", "gpu and nightly"], "pytest -m 'gpu and nightly'"),
    ],
)  # fmt: skip
def test_the_command_line(arguments: list[str], command: str) -> None:
    assert shown(*arguments) == command


def test_a_file_is_named_by_its_path_wherever_pytest_runs(project: Path) -> None:
    (project / "mine.yaml").write_text("extends: embedded\n")
    assert shown("mine.yaml") == f"pytest --env={project / 'mine.yaml'}"


def test_a_word_that_is_neither_is_misuse() -> None:
    assert "did you mean 'embedded'?" in shown("embeded", code=2)
    assert "did you mean 'correctness'?" in shown("embedded", "corectness", code=2)


@pytest.mark.parametrize(("test", "code"), [("test_wrong", 1), ("test_none", 5)])
def test_pytests_exit_code_is_passed_on(test: str, code: int) -> None:
    command = [sys.executable, "-m", "pdtest.cli", "run", "correctness", "-k", test, "-p", "no:cacheprovider"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == code, done.stdout + done.stderr
