from __future__ import annotations

import os
import signal
import subprocess
import sys

from pdtest.launch.kin import OWNER_VARIABLE, Kin, look_up

from .conftest import sleeper, until


def test_the_tag_finds_a_process_in_any_session(owner: str) -> None:
    kin = Kin({OWNER_VARIABLE: owner})
    assert kin.scan() == []
    with sleeper(owner) as child:
        until(lambda: [p.pid for p in kin.scan()] == [child.pid], "the tag shows")
        assert Kin({OWNER_VARIABLE: owner, "OTHER": "x"}).scan() == [], "every tag must fit"
        assert Kin({OWNER_VARIABLE: owner[:-1]}).scan() == [], "the whole value must fit"
        kin.scan()[0].send(signal.SIGKILL)
        assert child.wait(timeout=5) == -signal.SIGKILL
    assert kin.scan() == []


def test_the_session_finds_a_process_without_a_tag(owner: str) -> None:
    kin = Kin({OWNER_VARIABLE: owner})
    with sleeper() as child:
        kin.lead(child.pid)
        assert [p.pid for p in kin.scan()] == [child.pid]
    assert kin.scan() == []


def test_a_session_that_was_left_is_nobodys(owner: str) -> None:
    kin = Kin({OWNER_VARIABLE: owner})
    with sleeper() as child:
        kin.lead(child.pid)
        kin.leave(child.pid)
        assert kin.scan() == []


def test_a_stranger_that_came_by_a_leaders_pid_is_not_kin(owner: str) -> None:
    kin = Kin({OWNER_VARIABLE: owner})
    with sleeper() as child:
        kin.lead(child.pid)
        kin._leaders[child.pid] -= 1  # as if the leader had been another, started earlier
        assert kin.scan() == []


def test_the_caller_is_never_among_them(owner: str) -> None:
    kin = Kin({OWNER_VARIABLE: owner})
    kin.lead(os.getsid(0))
    assert os.getpid() not in [process.pid for process in kin.scan()]


def test_a_zombie_is_over(owner: str) -> None:
    kin = Kin({OWNER_VARIABLE: owner})
    child = subprocess.Popen([sys.executable, "-S", "-c", ""], start_new_session=True)
    kin.lead(child.pid)
    until(lambda: (found := look_up(child.pid)) is not None and found.ended, "it ends, unwaited")
    assert kin.scan() == []
    child.wait()


def test_a_program_with_brackets_in_its_name_is_read_right() -> None:
    rename = "open('/proc/self/comm', 'w').write('a) Z (b'); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-S", "-c", rename], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        found = look_up(child.pid)
        assert found is not None
        assert (found.parent, found.session, found.ended) == (os.getpid(), os.getsid(0), False)
        child.kill()
