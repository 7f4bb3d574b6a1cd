from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pdtest.launch.agents.wire import GREETING
from pdtest.launch.claims import DIRECTORY_VARIABLE, FlockLock
from pdtest.launch.lease import PortLeases
from pdtest.launch.shipment import packed, start_command


def greeted(shell: str, python: str, home: Path, **settings: Any) -> dict[str, Any]:
    """What a supervisor greets with that ``shell`` was told to start. It ends when its input does."""
    orders = {"owner": "me", "workdir": "~/work", "run": "r", "silence_s": 5, "free_mib": 0, "ports": None}
    answer = subprocess.run(
        [shell, "-c", start_command(python)],
        input=packed(orders | settings),
        capture_output=True,
        timeout=30,
        check=False,
        env={"HOME": str(home), "PATH": os.defpath},
    )
    lines = [line for line in answer.stdout.decode().splitlines() if line.startswith(GREETING)]
    assert lines, answer.stderr.decode()
    greeting: dict[str, Any] = json.loads(lines[0].removeprefix(GREETING))
    return greeting


@pytest.mark.parametrize("shell", [path for name in ("sh", "bash", "dash") if (path := shutil.which(name))])
def test_any_shell_starts_it(shell: str, tmp_path: Path) -> None:
    spaced = tmp_path / "my venv" / "bin" / "python"
    spaced.parent.mkdir(parents=True)
    spaced.symlink_to(sys.executable)
    for python in (sys.executable, str(spaced), "~/my venv/bin/python"):
        told = greeted(shell, python, tmp_path)["ok"]
        assert told["root"] == str(tmp_path / "work/runs/r")
        assert told["cores"] == os.cpu_count()


def test_another_run_is_waited_for(tmp_path: Path) -> None:
    lock = tmp_path / "work/runs/r/lock"
    lock.parent.mkdir(parents=True)
    held = FlockLock.take(lock)
    assert held is not None
    # The supervisor waits for as long as one that lost its run may need; this one has no time at all.
    told = greeted("sh", sys.executable, tmp_path, silence_s=-45)["error"]
    assert told["kind"] == "busy"
    held.release()
    assert "ok" in greeted("sh", sys.executable, tmp_path)


def test_what_killed_runs_left_is_removed_when_it_is_old(tmp_path: Path) -> None:
    runs = tmp_path / "work/runs"
    for name, age_s in (("old", 90_000), ("young", 1_000), ("old-but-held", 90_000)):
        (runs / name / "members").mkdir(parents=True)
        (runs / name / "lock").touch()
        past = (runs / name).stat().st_mtime - age_s
        os.utime(runs / name, (past, past))
    held = FlockLock.take(runs / "old-but-held" / "lock")
    assert held is not None
    greeted("sh", sys.executable, tmp_path)
    held.release()
    assert {path.name for path in runs.iterdir()} == {"r", "young", "old-but-held"}


def test_a_lock_of_either_kind_keeps_the_other_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path))
    leases = PortLeases("local")
    port = leases.take()
    assert FlockLock.take(tmp_path / f"{port}.lock") is None
    leases.release_all()
    held = FlockLock.take(tmp_path / f"{port}.lock")
    assert held is not None
    assert leases.take() != port
    held.release()
    leases.release_all()
