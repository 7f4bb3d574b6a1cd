from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

from pdtest.launch.local import LocalLauncher
from pdtest.launch.script import render_script
from pdtest.services.service import Command

from .conftest import python

AWKWARD = 'it\'s $HOME "quoted" `and` more'


def run(script: str, directory: Path, **env: str) -> subprocess.CompletedProcess[str]:
    path = directory / "command.sh"
    path.write_text(script, encoding="utf-8")
    return subprocess.run(
        ["bash", path], env=dict(os.environ) | env, capture_output=True, text=True, check=False, timeout=10
    )


def test_words_and_variables_arrive_as_they_are(tmp_path: Path) -> None:
    show = ("sh", "-c", 'printf "%s|%s|%s" "$1" "$MINE" "$PWD"', "sh")
    script = render_script(Command(argv=(*show, AWKWARD), env={"MINE": AWKWARD}), tmp_path, variables={})
    assert run(script, tmp_path).stdout == f"{AWKWARD}|{AWKWARD}|{tmp_path}"


def test_a_secret_becomes_the_variable_that_holds_it(tmp_path: Path) -> None:
    command = Command(
        argv=("sh", "-c", 'printf "%s %s" "$1" "$KEY"', "sh", "--key=hunter2!"),
        env={"KEY": "hunter2"},
        secrets=frozenset({"hunter2"}),
    )
    script = render_script(command, tmp_path, variables={"MY_KEY": "hunter2"})
    assert "hunter2" not in script
    assert run(script, tmp_path, MY_KEY="hunter3").stdout == "--key=hunter3! hunter3"
    assert "set it first" in run(script, tmp_path).stderr


def test_a_secret_that_no_variable_holds_is_masked(tmp_path: Path) -> None:
    command = Command(argv=("echo", "hunter2", ""), secrets=frozenset({"hunter2"}))
    script = render_script(command, tmp_path, variables={})
    assert "hunter2" not in script
    assert run(script, tmp_path).stdout == "*** \n"


def test_each_member_has_one_without_the_tags_of_the_run(tmp_path: Path, owner: str) -> None:
    async def launch_and_wait() -> None:
        process = await LocalLauncher().launch(python("print('hi')", owner), tmp_path, log=tmp_path / "log")
        await process.wait()

    asyncio.run(launch_and_wait())
    script = tmp_path / "command.sh"
    assert owner not in script.read_text(encoding="utf-8")
    assert subprocess.run([script], capture_output=True, check=True, timeout=10).stdout == b"hi\n"
