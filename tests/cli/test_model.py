from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from pdtest.cli.main import app
from pdtest.models import tiny


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["model", *arguments])
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    def write(_: object, directory: Path, seed: int) -> None:
        (directory / tiny.MARKER).write_text(f'{{"recipe": {tiny.RECIPE}, "seed": {seed}}}')

    monkeypatch.setattr(tiny, "_libraries", lambda: None)
    monkeypatch.setattr(tiny, "_write", write)


def test_make_writes_a_model_and_says_where(tmp_path: Path) -> None:
    assert run("make", str(tmp_path / "m"), "--seed", "3") == f"written: {tmp_path / 'm'}\n"
    assert tiny.exists(tmp_path / "m", seed=3)


def test_make_leaves_a_model_that_is_there(tmp_path: Path) -> None:
    run("make", str(tmp_path / "m"))
    assert run("make", str(tmp_path / "m")).startswith("already there: ")
    assert run("make", str(tmp_path / "m"), "--force").startswith("written: ")


def test_make_of_another_seed_asks_for_force(tmp_path: Path) -> None:
    run("make", str(tmp_path / "m"))
    assert "pass --force" in run("make", str(tmp_path / "m"), "--seed", "1", code=1)
    run("make", str(tmp_path / "m"), "--seed", "1", "--force")


def test_help_names_the_extra() -> None:
    assert "pdtest[model]" in run("make", "--help")
