from __future__ import annotations

import builtins
import re
from pathlib import Path
from typing import Any

import pytest

from pdtest.kills.mutant import Mutant, Place
from pdtest.kills.table import Cell, KillTable, Outcome
from pdtest.report.kill_picture import drawn, picture

_PNG = b"\x89PNG"


@pytest.fixture
def table() -> KillTable:
    """Of two mutants, the second one survived in one suite and cannot be seen by the other."""
    one, two = (
        Mutant(name=f"kv-{name}", place=Place.KV, bugs=("F1",), does="spoils", switch=name, unseen=unseen)
        for name, unseen in (("one", {}), ("two", {"transfer": "looks away"}))
    )
    test = "suites/correctness/test_prefix.py::test_same_prompt_twice[e-client-kv-one-exactly]"
    killed = Cell(outcome=Outcome.KILLED, test=test, seconds=1.25, located="token 3 is wrong")
    cells = {
        ("kv-one", "correctness"): killed,
        ("kv-one", "transfer"): killed,
        ("kv-two", "correctness"): Cell(outcome=Outcome.SURVIVED),
    }
    return KillTable(
        environment="e", mutants=(one, two), suites=("correctness", "transfer"), cells=cells, took_s=7
    )


def words(table: KillTable) -> str:
    content = drawn(table, "svg")
    assert content is not None
    # matplotlib writes each text as shapes, and what it says as a comment before them.
    return "\n".join(re.findall(r"<!-- (.*?) -->", content.decode()))


def test_it_says_who_killed_what_and_what_survived(table: KillTable) -> None:
    said = words(table)
    assert "1.2 s  same_prompt_twice[client-exactly]" in said
    assert "survived" in said
    assert "-  looks away" in said
    assert "kv-one  F1" in said
    assert "1 of 2 mutants killed on e in 7 s" in said


def test_a_false_alarm_is_in_its_title(table: KillTable) -> None:
    table.false_alarms.append("suites/x.py::test_x")
    assert "false alarm: suites/x.py::test_x" in words(table)


def test_files_are_of_the_kind_that_their_ending_says(table: KillTable, tmp_path: Path) -> None:
    png, svg = (picture(table, tmp_path / "new" / f"kills.{kind}") for kind in ("png", "svg"))
    assert png is not None
    assert svg is not None
    assert png.read_bytes().startswith(_PNG)
    assert b"<svg" in svg.read_bytes()


def test_the_picture_can_be_made_of_the_json(table: KillTable) -> None:
    assert words(KillTable.of_json(table.as_json())) == words(table)


def test_without_matplotlib_there_is_none(
    table: KillTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ModuleNotFoundError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    assert drawn(table) is None
    assert picture(table, tmp_path / "kills.png") is None
    assert not list(tmp_path.iterdir())
