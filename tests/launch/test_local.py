from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from pdtest.launch.kin import MEMBER_VARIABLE, OWNER_VARIABLE, look_up
from pdtest.launch.launcher import LaunchError
from pdtest.launch.local import LocalLauncher, LocalProcess
from pdtest.services.service import Command

from .conftest import python, until

FOREVER = "import time\nwhile True: time.sleep(60)"
DEAF = f"import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf')\n{FOREVER}"


async def launch(command: Command, directory: Path) -> LocalProcess:
    return await LocalLauncher().launch(command, directory, log=directory / "member.log")


def log_of(directory: Path) -> str:
    return (directory / "member.log").read_text(encoding="utf-8")


async def test_output_is_appended_to_the_log(tmp_path: Path, owner: str) -> None:
    for word in ("one", "two"):
        program = f"import sys; print({word!r}); print('to stderr', file=sys.stderr)"
        process = await launch(python(program, owner), tmp_path)
        assert await process.wait() == 0
    assert log_of(tmp_path) == "one\nto stderr\ntwo\nto stderr\n"


async def test_a_member_gets_a_session_tags_and_no_input(tmp_path: Path, owner: str) -> None:
    program = "import os, sys; print(os.getsid(0) == os.getpid(), os.getcwd(), repr(sys.stdin.read()))"
    names = (OWNER_VARIABLE, MEMBER_VARIABLE, "MINE")
    program += f"; print(*[os.environ[name] for name in {names}])"
    process = await launch(python(program, owner, env={"MINE": "yes"}), tmp_path)
    await process.wait()
    assert log_of(tmp_path) == f"True {tmp_path} ''\n{owner} {tmp_path} yes\n"


async def test_config_files_are_written_before_the_start(tmp_path: Path, owner: str) -> None:
    command = python("print(open('conf/a.json').read())", owner, files={"conf/a.json": '{"a": 1}'})
    process = await launch(command, tmp_path)
    assert await process.wait() == 0
    assert log_of(tmp_path) == '{"a": 1}\n'


async def test_a_config_file_outside_the_directory_is_refused(tmp_path: Path, owner: str) -> None:
    with pytest.raises(LaunchError, match="outside the member's directory"):
        await launch(python("", owner, files={"../a": ""}), tmp_path / "member")


async def test_a_config_file_with_a_secret_is_for_its_owner_only(tmp_path: Path, owner: str) -> None:
    secret = frozenset({"hunter2"})
    process = await launch(python("", owner, files={"a": "key=hunter2", "b": ""}, secrets=secret), tmp_path)
    await process.wait()
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o644


async def test_stop_asks_first(tmp_path: Path, owner: str) -> None:
    program = "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\nprint('up')\n"
    process = await launch(python(program + FOREVER, owner), tmp_path)
    until(lambda: log_of(tmp_path), "it is up")
    await process.stop(grace_s=10.0)
    assert process.returncode == 7


async def test_stop_kills_what_does_not_listen(tmp_path: Path, owner: str) -> None:
    process = await launch(python(DEAF, owner), tmp_path)
    until(lambda: log_of(tmp_path), "it is deaf")
    await process.stop(grace_s=0.1)
    assert process.returncode == -signal.SIGKILL


async def test_stop_ends_a_member_that_is_halted(tmp_path: Path, owner: str) -> None:
    process = await launch(python(FOREVER, owner), tmp_path)
    os.kill(process.pid, signal.SIGSTOP)
    began = time.monotonic()
    await process.stop(grace_s=30.0)
    assert process.returncode == -signal.SIGTERM
    assert time.monotonic() - began < 10.0


async def test_stop_ends_what_a_dead_member_left_behind(tmp_path: Path, owner: str) -> None:
    # The child is in a session of its own and has lost the tags: only its descent gave it away.
    program = (
        "import os, sys, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        f"    os.execve(sys.executable, [sys.executable, '-u', '-S', '-E', '-c', {DEAF!r}], {{}})\n"
        f"{FOREVER}"
    )
    process = await launch(python(program, owner), tmp_path)
    until(lambda: log_of(tmp_path) == "deaf\n", "the child runs")
    kin = process._session.scan()
    assert len(kin) == 2
    os.kill(process.pid, signal.SIGKILL)
    assert await process.wait() == -signal.SIGKILL

    await process.stop(grace_s=0.1)

    after = [look_up(before.pid) for before in kin]
    assert [process for process in after if process is not None and not process.ended] == []


@pytest.mark.parametrize("argv", [("no-such-program",), ("/no/such/program",), ("./not-executable",)])
async def test_a_program_that_cannot_run_is_a_launch_error(argv: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "not-executable").touch(mode=0o644)
    with pytest.raises(LaunchError, match=argv[0]) as refusal:
        await launch(Command(argv=argv), tmp_path)
    assert refusal.value.next_step


async def test_a_program_of_the_wrong_format_is_a_launch_error(tmp_path: Path) -> None:
    (tmp_path / "garbage").write_bytes(b"\x00\x01")
    (tmp_path / "garbage").chmod(0o755)
    with pytest.raises(LaunchError, match="would not start") as refusal:
        await launch(Command(argv=("./garbage",)), tmp_path)
    assert refusal.value.seen is not None
    assert "format" in refusal.value.seen
