"""What a member was made of, and what it therefore is to be started anew for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pdtest.cluster.making import made_of
from pdtest.launch.kin import OWNER_VARIABLE
from pdtest.services.service import Command

PLAIN = Command(argv=("engine", "--port", "1"), env={"A": "1"}, files={"x.json": "{}"})


def digest(command: Command, root: Path, *code: str) -> str:
    """Of ``command``, with further ``code``."""
    return made_of(command, code, root)


@pytest.mark.parametrize(
    "other",
    [
        Command(argv=("engine", "--port", "2"), env={"A": "1"}, files={"x.json": "{}"}),
        Command(argv=("engine", "--port", "1"), env={"A": "2"}, files={"x.json": "{}"}),
        Command(argv=("engine", "--port", "1"), env={"A": "1"}, files={"x.json": "{ }"}),
    ],
)
def test_command_variables_and_files_count(tmp_path: Path, other: Command) -> None:
    assert digest(PLAIN, tmp_path) == digest(PLAIN, tmp_path)
    assert digest(PLAIN, tmp_path) != digest(other, tmp_path)


def test_whose_run_it_is_does_not_count(tmp_path: Path) -> None:
    tagged = Command(argv=PLAIN.argv, env={**PLAIN.env, OWNER_VARIABLE: "somebody"}, files=PLAIN.files)

    assert digest(tagged, tmp_path) == digest(PLAIN, tmp_path)


def test_a_connector_counts_with_its_package(tmp_path: Path) -> None:
    package = tmp_path / "mine"
    package.mkdir()
    for name in ("__init__.py", "connector.py", "blocks.py"):
        (package / name).write_text("", encoding="utf-8")
    config = '{"kv_connector": "Mine", "kv_connector_module_path": "mine.connector"}'
    command = Command(argv=("vllm", "--kv-transfer-config", config), env={"PYTHONPATH": str(tmp_path)})
    before = digest(command, tmp_path)

    (package / "blocks.py").write_text("size = 16\n", encoding="utf-8")

    assert digest(command, tmp_path) != before


def test_a_script_and_a_module_count(tmp_path: Path) -> None:
    script, module = tmp_path / "proxy.py", tmp_path / "serve.py"
    for file in (script, module):
        file.write_text("1\n", encoding="utf-8")
    for argv in ((sys.executable, str(script)), (sys.executable, "-m", "serve")):
        command = Command(argv=argv, env={"PYTHONPATH": str(tmp_path)})
        before = digest(command, tmp_path)
        for file in (script, module):
            file.write_text(file.read_text(encoding="utf-8") + "2\n", encoding="utf-8")
        assert digest(command, tmp_path) != before


@pytest.mark.parametrize("given", ["code", "code/a.py"])
def test_what_the_environment_lists_counts(tmp_path: Path, given: str) -> None:
    (tmp_path / "code").mkdir()
    file = tmp_path / "code" / "a.py"
    before = digest(PLAIN, tmp_path, given)

    file.write_text("new\n", encoding="utf-8")
    there = digest(PLAIN, tmp_path, given)
    file.write_text("newer\n", encoding="utf-8")

    assert len({before, there, digest(PLAIN, tmp_path, given)}) == 3
