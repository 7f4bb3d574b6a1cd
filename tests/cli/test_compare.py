"""`pdtest compare` and `pdtest baseline`, on runs written as measured ones are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pdtest.cli.main import app
from pdtest.results import write_result
from tests.compare.made import STEADY, runs, scaled


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / ".pdtest"


def write(home: Path, run: str, values: Sequence[float], **fields: Any) -> None:
    for result in runs({"ttft_p50": values, "ttft_max": values}, run=run, **fields):
        write_result(home / "runs" / run / "embedded" / "loads" / result.label, result, [])


def pdtest(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, [*arguments])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.output


def test_exit_codes_say_how_it_went(home: Path) -> None:
    write(home, "old", STEADY)
    write(home, "same", STEADY)
    write(home, "slower", scaled(1.3))
    write(home, "faster", scaled(0.7))
    write(home, "bound", scaled(1.3), invalid=5)
    write(home, "single", STEADY[:1])
    assert "PASS: 1 measure held" in pdtest("compare", "old", "same")
    assert "IMPROVED: ttft_p50" in pdtest("compare", "old", "faster")
    assert "FAIL: ttft_p50" in pdtest("compare", "old", "slower", code=1)
    assert "INVALID: all runs of bound were bound by their client" in pdtest(
        "compare", "old", "bound", code=3
    )
    assert "too few runs: 5 and 1" in pdtest("compare", "old", "single", code=3)


def test_nothing_to_compare_is_misuse_and_not_worse(home: Path) -> None:
    write(home, "old", STEADY)
    write(home, "other", STEADY, workload={"name": "burst"})
    assert "no such directory" in pdtest("compare", "old", "nope", code=2)
    shown = pdtest("compare", "old", "other", code=2)
    assert "the two have no load in common" in shown
    assert "embedded/pd/burst" in shown
    assert "no baseline" in pdtest("compare", "baseline:nightly", "old", code=2)
    pdtest("compare", "old", "old", "--json", "--markdown", code=2)


def test_the_table_is_80_columns_wide_with_everything_in_it(home: Path) -> None:
    build = dict.fromkeys(("prefill", "decode", "colocated", "proxy"), "0.32.0.dev1+gabcdef")
    write(home, "20261120-020000-1a2b3c", STEADY, build=build)
    write(home, "20261121-020000-4d5e6f", scaled(1.3), build=build, conditions={"x": 1})
    shown = pdtest("compare", "20261120-020000-1a2b3c", "20261121-020000-4d5e6f", "--all", code=1)
    assert max(map(len, shown.splitlines())) <= 80
    assert "+30 %" in shown
    assert "ONLY SHOWN" in shown
    assert "prefill decode colocated proxy 0.32.0.dev1+gabcdef" in " ".join(shown.split())
    assert "1 measure more, not judged: --all" in pdtest(
        "compare", "20261120-020000-1a2b3c", "20261121-020000-4d5e6f", code=1
    )


def test_json_has_all_of_it(home: Path) -> None:
    write(home, "old", STEADY)
    write(home, "slower", scaled(1.3))
    told = json.loads(pdtest("compare", "old", "slower", "--json", code=1))
    assert told["verdict"] == "fail"
    (comparison,) = told["comparisons"]
    assert [change["measure"] for change in comparison["changes"]] == ["ttft_p50", "ttft_max"]
    assert comparison["changes"][0]["old"] == list(STEADY)


def test_markdown_is_a_table_of_what_was_judged(home: Path) -> None:
    write(home, "old", STEADY)
    write(home, "slower", scaled(1.3))
    shown = pdtest("compare", "old", "slower", "--markdown", code=1)
    assert "### FAIL: embedded, pd, chat" in shown
    (row,) = [line for line in shown.splitlines() if line.startswith("| ttft")]
    assert row.startswith("| ttft_p50 | 100 ms | 130 ms | +30 % (")
    assert row.count("|") == 6


def test_loads_that_ran_once_are_only_named(home: Path) -> None:
    for run in ("old", "new"):
        write(home, run, STEADY)
        write(home, run, STEADY[:1], workload={"name": "rate-4"}, label="rate-4-pd-0")
    assert "measured once, not judged: rate-4" in pdtest("compare", "old", "new")
    assert "embedded, pd, rate-4" in pdtest("compare", "old", "new", "--all", code=3)


def test_other_conditions_are_named_and_verdicts_given_anyway_where_asked(home: Path) -> None:
    write(home, "old", STEADY, conditions={"hardware": {"cores": 4}})
    write(home, "new", scaled(1.3), conditions={"hardware": {"cores": 2}}, fingerprint="e" * 16)
    assert "differs: hardware.cores: 4 / 2" in pdtest("compare", "old", "new", code=3)
    pdtest("compare", "old", "new", "--anyway", code=1)


def test_the_environment_of_the_new_run_says_what_is_tolerated(home: Path) -> None:
    write(home, "old", STEADY)
    write(home, "new", scaled(1.3))
    (home / "runs" / "new" / "embedded" / "environment.resolved.yaml").write_text(
        "name: embedded\ncompare: {tolerances: {'ttft_*': {share: 0.5}}}\n"
    )
    pdtest("compare", "old", "new")


def test_a_baseline_is_set_listed_shown_compared_with_and_removed(home: Path) -> None:
    write(home, "first", STEADY)
    write(home, "second", scaled(1.02))
    write(home, "slower", scaled(1.3))
    assert "nothing" not in pdtest("baseline", "set", "nightly", "first")
    pdtest("baseline", "set", "nightly", "second", "--add")
    (row,) = json.loads(pdtest("baseline", "list", "--json"))
    assert (row["name"], row["environment"], row["load"], row["runs"]) == ("nightly", "embedded", "chat", 10)
    assert "nightly" in pdtest("baseline", "list")
    assert json.loads(pdtest("baseline", "show", "nightly"))[0]["results"][0]["run"] == "first"
    shown = pdtest("compare", "baseline:nightly", "slower", code=1)
    assert "nightly: 10 runs in 2 sessions" in shown
    pdtest("baseline", "remove", "nightly")
    assert "no baselines" in pdtest("baseline", "list")
    assert "there is no baseline 'nightly'" in pdtest("baseline", "remove", "nightly", code=1)


def test_runs_bound_by_their_client_make_no_baseline(home: Path) -> None:
    write(home, "bound", STEADY, invalid=5)
    assert "nothing kept" in pdtest("baseline", "set", "nightly", "bound", code=1)
