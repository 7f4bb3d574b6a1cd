from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from pdtest.cli.main import app


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, [*arguments])
    assert result.exit_code == code, result.output
    return result.output


def test_the_version_is_shown() -> None:
    assert run("--version").startswith("pdtest 0.")


def test_help_teaches_the_way_in() -> None:
    shown = run("-h")
    assert "pdtest env list" in shown
    assert "Exit codes" in shown
    assert "3 it cannot be told" in " ".join(shown.split())
    assert "--install-completion" in shown


def test_misuse_exits_with_2() -> None:
    run("bogus", code=2)
    run("env", "list", "--bogus", code=2)


def test_an_error_of_ours_is_a_message_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "thesis.txt").write_text("x")
    command = [sys.executable, "-m", "pdtest.cli", "model", "make", str(tmp_path / "m")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("model directory taken: ")
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stderr
