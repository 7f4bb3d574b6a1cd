from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pdtest.launch import guard as guard_module
from pdtest.launch.guard import Guard, GuardFailed
from pdtest.launch.kin import OWNER_VARIABLE, Kin

from .conftest import sleeper, until


@pytest.fixture
def guard(owner: str, tmp_path: Path) -> Iterator[Guard]:
    ours = Guard(owner, tmp_path / "reaper.log")
    yield ours
    ours.dismiss()


def close_pipe(guard: Guard) -> None:
    """As the kernel does when the run is killed. The descriptor stays valid, to be closed again."""
    empty = os.open(os.devnull, os.O_WRONLY)
    os.dup2(empty, guard._pipe, inheritable=False)
    os.close(empty)


def test_when_the_pipe_closes_everything_of_the_run_ends(guard: Guard, owner: str, tmp_path: Path) -> None:
    with sleeper(owner) as tagged, sleeper() as led, sleeper() as stranger:
        guard.lead(led.pid)
        close_pipe(guard)
        assert tagged.wait(timeout=5) == -signal.SIGTERM
        assert led.wait(timeout=5) == -signal.SIGTERM
        until(lambda: guard._process.poll() is not None, "the reaper is done")
        assert guard._process.returncode == 0
        assert stranger.poll() is None
    report = (tmp_path / "reaper.log").read_text(encoding="utf-8")
    assert f"SIGTERM {tagged.pid}" in report
    assert str(stranger.pid) not in report


def test_after_a_bye_what_runs_keeps_running(guard: Guard, owner: str) -> None:
    with sleeper(owner) as child:
        guard.dismiss()
        guard.dismiss()
        assert guard._process.returncode == 0
        assert [process.pid for process in Kin({OWNER_VARIABLE: owner}).scan()] == [child.pid]


def test_the_reaper_ignores_signals_and_is_soon_up(owner: str, tmp_path: Path) -> None:
    began = time.monotonic()
    guard = Guard(owner, tmp_path / "reaper.log")
    assert time.monotonic() - began < 5.0
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(guard.pid, number)
    assert guard._process.poll() is None
    assert os.getsid(guard.pid) == guard.pid
    guard.dismiss()
    assert guard._process.returncode == 0, "it said bye in good order"


def test_the_reaper_needs_the_standard_library_only() -> None:
    # What pdtest/__init__.py and pdtest/launch/__init__.py import counts: the reaper must be up in a moment.
    show = "import pdtest.launch.reaper, sys; print(*{name.partition('.')[0] for name in sys.modules})"
    env = {"PYTHONPATH": str(guard_module._ROOT)}
    modules = subprocess.check_output([sys.executable, "-S", "-P", "-c", show], env=env, text=True).split()
    assert set(modules) - set(sys.stdlib_module_names) <= {"pdtest", "__main__"}


def test_members_do_not_inherit_the_pipe(guard: Guard, owner: str) -> None:
    with sleeper(owner, close_fds=False) as child:  # whatever a launcher does, the kernel closes it
        pipe = os.fstat(guard._pipe).st_ino
        fds = Path(f"/proc/{child.pid}/fd")
        until((fds / "0").exists, "the child runs")
        held = [fd.readlink() for fd in fds.iterdir() if fd.is_fifo()]
        assert Path(f"pipe:[{pipe}]") not in held


def test_a_fork_that_holds_the_pipe_does_not_hide_the_death_of_the_run(owner: str, tmp_path: Path) -> None:
    program = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from pdtest.launch.guard import Guard\n"
        f"guard = Guard({owner!r}, Path({str(tmp_path / 'reaper.log')!r}))\n"
        "fork = os.fork()\n"
        "if fork: print(fork, flush=True)\n"
        "time.sleep(60)\n"
    )
    with (
        sleeper(owner) as child,
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as run,
    ):
        assert run.stdout is not None
        fork = int(run.stdout.readline())
        run.kill()
        assert child.wait(timeout=5) == -signal.SIGTERM
        os.kill(fork, signal.SIGKILL)


def test_a_reaper_that_does_not_come_up_is_an_error(
    owner: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard_module, "_ROOT", tmp_path)
    with pytest.raises(GuardFailed, match="did not start"):
        Guard(owner, tmp_path / "reaper.log")


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "a disk"
    directory.mkdir()
    (directory / "below").touch()
    done = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(directory)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.decode().strip()}")
    yield directory
    if not (directory / "below").exists():
        subprocess.run(["umount", "-l", str(directory)], check=True)


def test_what_the_run_mounted_goes_with_it(guard: Guard, owner: str, tmp_path: Path, mounted: Path) -> None:
    guard.mounted(tmp_path / "another")
    guard.mounted(mounted)
    guard.unmounted(tmp_path / "another")
    with sleeper(owner) as child, (mounted / "open").open("w"):  # it is in use
        close_pipe(guard)
        assert child.wait(timeout=5) == -signal.SIGTERM
        until(lambda: guard._process.poll() is not None, "the reaper is done")
    assert guard._process.returncode == 0
    assert (mounted / "below").exists(), "the directory is what it was"
    report = (tmp_path / "reaper.log").read_text(encoding="utf-8")
    assert f"unmounted {mounted}" in report
    assert "another" not in report


def test_after_a_bye_a_mount_is_the_runs_own_affair(guard: Guard, mounted: Path) -> None:
    guard.mounted(mounted)
    guard.dismiss()
    assert not (mounted / "below").exists()
