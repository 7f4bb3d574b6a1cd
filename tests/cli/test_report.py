from __future__ import annotations

import webbrowser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pdtest.cli.main import app
from pdtest.events import Journal
from pdtest.events.session import RunBegan, RunEnded, TestEnded


@pytest.fixture
def run(tmp_path: Path) -> Path:
    journal = Journal(tmp_path / "kept" / "events.jsonl")
    journal.append(
        RunBegan(
            run="kept", seed="s", argv=("pytest",), environments=("e",), host="h", system="s", processor="p",
            cores=1, memory_bytes=2**30, python="3.11", versions={},
        )
    )  # fmt: skip
    journal.append(TestEnded(test="t.py::test_a", environment="e", outcome="passed", took_s=1.0))
    journal.append(RunEnded(status=0, took_s=2.0))
    journal.close()
    return tmp_path / "kept"


def test_a_kept_run_gets_its_report(run: Path) -> None:
    result = CliRunner().invoke(app, ["report", str(run)])
    assert result.exit_code == 0
    assert result.output.split() == [str(run / "report.html")]
    assert "1 passed" in (run / "report.html").read_text(encoding="utf-8")


def test_markdown_is_printed(run: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["report", str(run), "--markdown", "-o", str(tmp_path / "x" / "r.html")])
    assert result.output.startswith("## pdtest: passed\n\n1 passed in 2 s\n")
    assert (tmp_path / "x" / "r.json").is_file()


def test_it_can_be_opened(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(webbrowser, "open", shown.append)
    assert CliRunner().invoke(app, ["report", str(run), "--open"]).exit_code == 0
    assert shown == [(run / "report.html").as_uri()]


def test_what_is_no_run_is_said(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["report", str(tmp_path / "none")])
    assert result.exit_code == 1
    assert "no such directory" in result.stderr
