"""Processes as the kernel shows them, and signals to the right ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from pdtest.launch.kin import look_up
from pdtest.launch.vitals import Vitals, look_at, look_at_all, send

PROGRAM = """
import signal, sys, time
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def child() -> Iterator[subprocess.Popen[str]]:
    """Ignores SIGUSR1 and blocks SIGUSR2."""
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def now(process: subprocess.Popen[str]) -> Vitals:
    found = look_up(process.pid)
    assert found is not None
    return look_at(process.pid, found.started)


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_process_is_told_with_what_it_makes_of_signals(child: subprocess.Popen[str]) -> None:
    seen = now(child)
    assert seen.state in "SR"
    assert sys.executable in seen.command
    assert not seen.ended
    assert (seen.ignores(signal.SIGUSR1), seen.ignores(signal.SIGUSR2)) == (True, False)
    assert send(child.pid, seen.started, signal.SIGUSR2)
    until(lambda: now(child).has_waiting(signal.SIGUSR2))
    assert not now(child).has_waiting(signal.SIGTERM)


def test_stopped_and_ended_ones_are_told(child: subprocess.Popen[str]) -> None:
    started = now(child).started
    assert send(child.pid, started, signal.SIGSTOP)
    until(lambda: look_at(child.pid, started).stopped)
    assert send(child.pid, started, signal.SIGKILL)
    until(lambda: look_at(child.pid, started).ended)
    assert look_at(child.pid, started).state == "Z"
    assert not send(child.pid, started, 0), "a zombie takes no signal"
    child.wait()
    assert look_at(child.pid, started).state == "X"


def test_a_pid_that_was_used_again_is_not_taken_for_the_former_one(child: subprocess.Popen[str]) -> None:
    former = now(child).started - 1
    assert look_at(child.pid, former) == Vitals(pid=child.pid, started=former, state="X")
    assert not send(child.pid, former, signal.SIGKILL)
    assert not now(child).ended


def test_the_first_that_started_comes_first(child: subprocess.Popen[str]) -> None:
    here, there = look_up(os.getpid()), look_up(child.pid)
    assert here is not None
    assert there is not None
    assert [one.pid for one in look_at_all([there, here])] == [here.pid, there.pid]
