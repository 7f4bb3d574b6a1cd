"""The menu, in a terminal of its own."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pdtest.cli.main import app


class Terminal:
    """A program in a terminal, which it controls."""

    def __init__(self, directory: Path, *command: str) -> None:
        self._main, side = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", _CONTROLLING, *command],
            stdin=side,
            stdout=side,
            stderr=side,
            cwd=directory,
        )
        os.close(side)
        self.said = ""

    def until(self, text: str, timeout_s: float = 60.0) -> str:
        """What was said up to ``text``, since the last time."""
        deadline = time.monotonic() + timeout_s
        while text not in self.said:
            assert time.monotonic() < deadline, self.said
            if select.select([self._main], [], [], 0.5)[0]:
                self.said += os.read(self._main, 4096).decode(errors="replace")
        before, _, self.said = self.said.partition(text)
        return before

    def type(self, keys: str) -> None:
        os.write(self._main, keys.encode())

    def close(self) -> None:
        os.close(self._main)
        self.process.kill()
        self.process.wait()


#: Makes the terminal its own, so that Ctrl-C in it is a signal to all that runs there.
_CONTROLLING = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", "pdtest.cli", *sys.argv[1:]])
"""


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    (tmp_path / "slow.py").write_text(
        "import time\ndef test(): print('asleep', flush=True); time.sleep(60)\n"
    )
    settings = "[pytest]\naddopts = -s -p no:cacheprovider\ntestpaths = slow.py\npython_files = slow.py\n"
    (tmp_path / "pytest.ini").write_text(settings)
    made = Terminal(tmp_path)
    yield made
    made.close()


def test_a_number_runs_a_command_for_the_environment_at_hand(terminal: Terminal) -> None:
    shown = terminal.until("what:")
    assert "embedded" in shown
    assert "up embedded" in shown
    assert "down embedded" not in shown

    terminal.type("e\n")
    terminal.until("environment (name")
    terminal.type("embeded\n")
    terminal.until("did you mean 'embedded'?")
    terminal.until("what:")
    terminal.type("e\nembedded-2p2d\n")
    assert "doctor embedded-2p2d" in terminal.until("what:")

    terminal.type("4\ndecode-2\n")  # config, of a member
    terminal.until("pdtest.embedded.engine")
    terminal.until("what:")
    terminal.type("q\n")
    assert terminal.process.wait(timeout=30) == 0


def test_ctrl_c_ends_the_command_and_not_the_menu(terminal: Terminal) -> None:
    terminal.until("what:")
    terminal.type("2\n")
    terminal.until("asleep")
    terminal.type("\x03")
    terminal.until("KeyboardInterrupt")
    terminal.until("exit code 2")
    terminal.until("what:")
    terminal.type("\x04")  # the end of the input
    assert terminal.process.wait(timeout=30) == 0


def test_without_a_terminal_there_is_help() -> None:
    result = CliRunner().invoke(app, [])
    assert result.exit_code == 0
    assert "Exit codes" in result.output


def test_names_of_environments_are_completed() -> None:
    words = {"_PDTEST_COMPLETE": "complete_bash", "COMP_WORDS": "pdtest up embedded-2", "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-c", "from pdtest.cli.main import app; app(prog_name='pdtest')"],
        env={**os.environ, **words}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.stdout.split() == ["embedded-2p2d"]
