from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from pdtest.launch.claims import Claims
from pdtest.launch.devices import DeviceLeases, DeviceTaken
from pdtest.launch.guard import Guard
from pdtest.launch.held import held
from pdtest.launch.kin import look_up

from .conftest import until

Leases = Callable[[str], DeviceLeases]

#: A run that holds devices and has started something that takes no SIGTERM.
RUN = """
import os, signal, subprocess, sys, time
from pathlib import Path
from pdtest.launch.devices import DeviceLeases
from pdtest.launch.guard import Guard
directory, owner, tagged = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "tagged"
guard = Guard(owner, directory.parent / "reaper.log")
DeviceLeases(owner, guard, directory).hold("cuda", {0: "its member", 1: "its member"})
deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
child = subprocess.Popen(
    [sys.executable, "-S", "-E", "-c", deaf], env=os.environ | ({"PDTEST_OWNER": owner} if tagged else {}),
    stdout=subprocess.PIPE, start_new_session=True,
)
child.stdout.readline()
guard.lead(child.pid)
print(guard.pid, child.pid, flush=True)
time.sleep(60)
"""
#: Takes overlapping sets again and again; a file for each device shows who has it.
TAKER = """
import random, sys, time
from pathlib import Path
from pdtest.launch.devices import DeviceLeases, DeviceTaken
from pdtest.launch.guard import Guard
directory, me = Path(sys.argv[1]), sys.argv[2]
guard = Guard(me, directory.parent / "reaper.log")
leases = DeviceLeases(me, guard, directory)
sys.stdin.readline()
for _ in range(15):
    wanted = random.sample(range(4), random.choice([1, 2, 3]))
    while True:
        try:
            leases.hold("cuda", dict.fromkeys(wanted, me))
            break
        except DeviceTaken:
            time.sleep(0.005)
    marks = [directory.parent / f"has-{device}" for device in wanted]
    for mark in marks:
        mark.touch(exist_ok=False)
    time.sleep(0.01)
    for mark in marks:
        mark.unlink()
    leases.free("cuda", wanted)
print("done")
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "leases"


@pytest.fixture
def leases(directory: Path, tmp_path: Path) -> Iterator[Leases]:
    """Makes runs that lease devices."""
    made: list[tuple[Guard, DeviceLeases]] = []

    def one(owner: str) -> DeviceLeases:
        guard = Guard(owner, tmp_path / f"reaper-{owner}.log")
        made.append((guard, DeviceLeases(owner, guard, directory)))
        return made[-1][1]

    yield one
    for guard, ours in made:
        guard.dismiss()
        ours.release_all()
        ours.release_all()


@contextmanager
def running(
    directory: Path, owner: str, how: str = "tagged"
) -> Iterator[tuple[subprocess.Popen[str], int, int]]:
    """A run in a process of its own, with the pids of its reaper and of its deaf child."""
    directory.mkdir()
    command = [sys.executable, "-c", RUN, str(directory), owner, how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        reaper, child = map(int, process.stdout.readline().split())
        try:
            yield process, reaper, child
        finally:
            process.kill()
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


def gone(pid: int) -> bool:
    """Nobody collects what a killed run has left: a zombie is gone, too."""
    process = look_up(pid)
    return process is None or process.ended


def free(leases: DeviceLeases, *devices: int) -> bool:
    try:
        leases.hold("cuda", dict.fromkeys(devices, "a test"))
    except DeviceTaken:
        return False
    return True


def test_all_or_none(leases: Leases, directory: Path) -> None:
    ours, theirs = leases("ours"), leases("theirs")
    theirs.hold("cuda", {1: "member 'prefill' of 'pytest -x'"})

    with pytest.raises(DeviceTaken) as refusal:
        ours.hold("cuda", {0: "member 'prefill'", 1: "member 'decode'", 2: "member 'decode'"})

    message = str(refusal.value)
    assert "another run holds cuda-1, which member 'decode' asks for" in message
    assert f"run theirs, process {os.getpid()}, for 0.0 min for member 'prefill' of 'pytest -x'" in message
    assert "--cluster-wait" in message
    assert [*held(directory)] == ["cuda-1"]
    theirs.hold("cuda", {0: "more", 1: "again", 2: "more"})
    assert [*held(directory)] == ["cuda-0", "cuda-1", "cuda-2"]


def test_what_is_freed_is_free_although_the_reaper_had_a_part_in_it(leases: Leases) -> None:
    ours, theirs = leases("ours"), leases("theirs")
    ours.hold("ascend", {0: "one", 1: "other"})
    ours.free("ascend", [0])

    def taken() -> bool:
        try:
            theirs.hold("ascend", {0: "theirs"})
        except DeviceTaken:
            return False
        return True

    until(taken, "the reaper lets go")
    with pytest.raises(DeviceTaken):
        theirs.hold("ascend", {1: "theirs"})


def test_kinds_have_numbers_of_their_own(leases: Leases) -> None:
    leases("ours").hold("cuda", {0: "a GPU"})
    leases("theirs").hold("core", {0: "a core"})


@pytest.mark.parametrize("how", ["tagged", "led"])
def test_a_killed_run_has_its_devices_until_all_that_it_started_is_gone(
    directory: Path, leases: Leases, owner: str, how: str
) -> None:
    with running(directory, owner, how) as (process, _, child):
        ours = leases("ours")
        assert not free(ours, 0)
        process.kill()
        process.wait()

        refusals = 0
        while not free(ours, 0, 1):
            refusals += 1

        assert refusals, "the deaf child lives for a second after SIGTERM"
        assert gone(child)


def test_what_a_run_left_that_was_killed_with_its_reaper_is_told(
    directory: Path, leases: Leases, owner: str
) -> None:
    with running(directory, owner) as (process, reaper, child):
        for pid in (reaper, process.pid):
            os.kill(pid, signal.SIGKILL)
        process.wait()
        ours = leases("ours")
        until(lambda: gone(reaper), "the reaper is gone")

        for _ in range(2):  # a refusal must not make it forgotten
            with pytest.raises(DeviceTaken) as refusal:
                ours.hold("cuda", {0: "a test"})
            assert f"it was killed, and left processes {child}" in str(refusal.value)
            assert refusal.value.next_step == f"end what it left: kill {child}"
            assert held(directory)["cuda-0"]["left"] == [child]

        os.kill(child, signal.SIGKILL)
        until(lambda: free(ours, 0), "nothing of it is left")


def test_runs_that_want_overlapping_sets_all_get_them_and_never_at_once(directory: Path) -> None:
    directory.mkdir()
    takers = [
        subprocess.Popen(
            [sys.executable, "-c", TAKER, str(directory), f"taker-{number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    outputs = [taker.communicate("go\n", timeout=60) for taker in takers]
    assert outputs == [("done\n", "")] * 4
    assert not list(directory.glob("*.json"))


def test_who_has_the_pid_of_a_dead_holder_is_not_taken_for_it(directory: Path) -> None:
    claims = Claims("ours", directory)
    claims.take("cuda-0")
    note = directory / "cuda-0.json"
    assert claims.holder("cuda-0")["owner"] == "ours"
    text = note.read_text(encoding="utf-8")
    started = claims.holder("cuda-0")["started"]
    note.write_text(text.replace(f'"started": {started}', f'"started": {started - 1}'), encoding="utf-8")

    assert claims.holder("cuda-0") == {}
    assert not held(directory)
    claims.release_all()


def test_a_try_that_fails_is_seen_by_nobody(leases: Leases) -> None:
    many, one = leases("many"), leases("one")
    leases("theirs").hold("cuda", {30: "the last that is tried"})
    over = threading.Event()

    def try_in_vain() -> None:
        while not over.is_set():
            assert not free(many, *range(10, 31))
            time.sleep(0.002)  # whoever waits at the gate gets in

    trying = threading.Thread(target=try_in_vain)
    trying.start()
    try:
        for device in range(29, 9, -1):  # all but these are held for a moment, before the try fails
            one.hold("cuda", {device: "one"})
    finally:
        over.set()
        trying.join()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be several users")
def test_who_takes_over_from_a_killed_run_of_another_user_is_told_of_by_name() -> None:
    class Nobody:
        """No heir: all of this happens in one process."""

        def holds(self, name: str, lock: int) -> None:
            pass

        def frees(self, name: str) -> None:
            pass

    @contextmanager
    def user(number: int) -> Iterator[None]:
        os.seteuid(number)
        try:
            yield
        finally:
            os.seteuid(0)

    with tempfile.TemporaryDirectory() as shared:
        Path(shared).chmod(0o777)
        directory = Path(shared) / "leases"
        one, other = Claims("one", directory), DeviceLeases("other", Nobody(), directory)
        with user(65_533):
            one.take("cuda-0", "a run that is killed")
            one.lock("cuda-0").release()
        with user(65_534):
            other.hold("cuda", {0: "a run of somebody else"})
            assert held(directory)["cuda-0"]["owner"] == "other"
            other.release_all()
            assert not held(directory)
