from __future__ import annotations

import os
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from pdtest.services.set_env import sourced


def test_without_scripts_there_is_no_shell() -> None:
    assert sourced((), ("python", "-m", "vllm")) == ("python", "-m", "vllm")


def test_scripts_are_sourced_in_order_and_the_program_gets_its_arguments(tmp_path: Path) -> None:
    (tmp_path / "first.sh").write_text("export WHO=first", encoding="utf-8")
    # As nnal/atb/set_env.sh does; its arguments must not be the program's.
    (tmp_path / "it's second.sh").write_text('export WHO="$WHO, second, $#"', encoding="utf-8")
    program = ("printenv", "WHO")
    argv = sourced((str(tmp_path / "first.sh"), str(tmp_path / "it's second.sh")), program)
    assert subprocess.run(argv, check=True, capture_output=True, text=True).stdout == "first, second, 0\n"
    by_hand = subprocess.run(["sh", "-c", shlex.join(argv)], check=True, capture_output=True, text=True)
    assert by_hand.stdout == "first, second, 0\n"


def test_arguments_with_blanks_and_quotes_arrive_whole(tmp_path: Path) -> None:
    (tmp_path / "set_env.sh").touch()
    config = '{"kv_connector": "it\'s $HOME"}'
    argv = sourced((str(tmp_path / "set_env.sh"),), ("printf", "%s|", "--kv", config))
    assert subprocess.run(argv, check=True, capture_output=True, text=True).stdout == f"--kv|{config}|"


@pytest.mark.parametrize("script", ["false", "return 3"])
def test_a_script_whose_last_command_fails_keeps_nobody_from_starting(script: str, tmp_path: Path) -> None:
    (tmp_path / "set_env.sh").write_text(script, encoding="utf-8")
    assert subprocess.run(sourced((str(tmp_path / "set_env.sh"),), ("true",)), check=False).returncode == 0


def test_one_that_is_missing_says_so_and_the_program_finds_out(tmp_path: Path) -> None:
    argv = sourced((str(tmp_path / "set_env.sh"),), ("echo", "on"))
    ended = subprocess.run(argv, check=True, capture_output=True, text=True)
    assert ended.stdout == "on\n"
    assert "set_env.sh: No such file or directory" in ended.stderr


def test_the_program_takes_the_place_of_the_shell(tmp_path: Path) -> None:
    (tmp_path / "set_env.sh").touch()
    argv = sourced((str(tmp_path / "set_env.sh"),), ("sh", "-c", "echo $$; exec sleep 60"))
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) == process.pid
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(timeout=30) == -signal.SIGTERM
