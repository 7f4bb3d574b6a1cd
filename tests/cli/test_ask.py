"""`pdtest ask` on a real stack that stands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pdtest.cli.main import app

PROMPT = "The KV of this sentence, which is longer than a block, is computed elsewhere."


def pdtest(*arguments: str) -> Result:
    """The command."""
    return CliRunner().invoke(app, arguments)


@pytest.fixture(scope="module")
def decode(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cluster with switches for planted bugs stands; gives decode's folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("project"))
        done = pdtest("up", "embedded-mutants")
        assert done.exit_code == 0, done.output
        yield Path(".pdtest/standing/embedded-mutants/members/decode").absolute()
        assert pdtest("down").exit_code == 0


def test_both_legs_and_the_verdict_are_shown(decode: Path) -> None:
    del decode

    result = pdtest("ask", PROMPT)

    assert result.exit_code == 0, result.output
    assert "prefill prefill in" in result.output
    assert "kv_transfer_params answered: {" in result.output
    assert "PASS: equal to colocated, with KV moved" in result.output


def test_a_prompt_that_decode_knows_already_is_no_failure(decode: Path) -> None:
    del decode
    told = [json.loads(pdtest("ask", PROMPT, "--json").stdout) for _ in range(2)]

    assert [one["ruling"] for one in told] == ["pass", "pass"]
    assert any(finding["text"].startswith("64 tokens") for finding in told[1]["findings"])


def test_wrong_kv_ends_with_1_and_says_where(decode: Path) -> None:
    (decode / "mutant.switch").write_text("zeroed\n", encoding="utf-8")
    try:
        result = pdtest("ask", f"Another one. {PROMPT}", "--route", "proxy", "--json")
    finally:
        (decode / "mutant.switch").unlink()

    assert result.exit_code == 1, result.output
    wrong = [one["check"] for one in json.loads(result.stdout)["findings"] if one["ruling"] == "fail"]
    assert wrong == ["parity"]


def test_where_nothing_stands_it_is_said_what_to_do(tmp_path: Path) -> None:
    result = pdtest("ask", "x", "--rootdir", str(tmp_path))

    assert result.exit_code == 1
    assert "pdtest up ENV" in result.stderr
