from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pdtest.services.programs import find_program


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The same program twice: beside the interpreter, and on PATH."""
    places = (tmp_path / "venv/bin/router", tmp_path / "path/router")
    for place in places:
        place.parent.mkdir(parents=True)
        place.write_text("#!/bin/sh\n")
        place.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(places[0].with_name("python")))
    monkeypatch.setenv("PATH", str(places[1].parent))
    return places


def test_the_program_beside_this_interpreter_is_the_one_that_was_meant(program: tuple[Path, Path]) -> None:
    assert find_program("router") == str(program[0])


def test_path_comes_next(program: tuple[Path, Path]) -> None:
    program[0].unlink()
    assert find_program("router") == str(program[1])


def test_a_program_that_is_nowhere(program: tuple[Path, Path]) -> None:
    assert find_program("routeur") is None
