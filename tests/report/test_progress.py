from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.text import Text

from pdtest.cluster.snapshot import MemberSnapshot, MemberState, Snapshot, Wait
from pdtest.environment.schema import Role
from pdtest.report.progress import Progress


def snapshot(elapsed_s: float, *members: tuple[str, MemberState, str]) -> Snapshot:
    return Snapshot(
        members=tuple(
            MemberSnapshot(
                name=name,
                role=Role.DECODE,
                state=state,
                doing=doing,
                elapsed_s=elapsed_s,
                url="http://127.0.0.1:1",
            )
            for name, state, doing in members
        ),
        elapsed_s=elapsed_s,
    )


LOADING = (MemberState.STARTING, "loading weights")
READY = (MemberState.READY, "")


def plain() -> tuple[Console, io.StringIO]:
    output = io.StringIO()
    return Console(file=output, width=80), output


def terminal() -> tuple[Console, io.StringIO]:
    output = io.StringIO()
    return Console(file=output, width=80, force_terminal=True, legacy_windows=False, _environ={}), output


def test_plain_lines_tell_each_change_once() -> None:
    console, output = plain()
    with Progress(console) as progress:
        progress(snapshot(0.0, ("decode", MemberState.STARTING, "starting")))
        progress(snapshot(12.3, ("decode", *LOADING)))
        progress(snapshot(12.4, ("decode", *LOADING)))
        progress(snapshot(52.1, ("decode", *READY)))
    assert output.getvalue().splitlines() == [
        "[  0.0s] decode: starting",
        "[ 12.3s] decode: loading weights",
        "[ 52.1s] decode: ready",
        "1 member ready in 52.1 s",
    ]


def test_plain_lines_are_not_wrapped_or_marked_up() -> None:
    console, output = plain()
    with Progress(console) as progress:
        progress(snapshot(1.0, ("decode", MemberState.STARTING, "[bold] " + "x" * 100)))
    assert output.getvalue() == "[  1.0s] decode: [bold] " + "x" * 100 + "\n"


def test_a_failure_sums_nothing_up() -> None:
    console, output = plain()

    def fail() -> None:
        with Progress(console) as progress:
            progress(snapshot(1.0, ("decode", *READY)))
            progress(snapshot(2.0, ("decode", MemberState.DIED, "loading weights")))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert output.getvalue().splitlines() == [
        "[  1.0s] decode: ready",
        "[  2.0s] decode: died, last seen loading weights",
    ]


def test_on_a_terminal_a_table_shows_all_members_in_80_columns() -> None:
    console, output = terminal()
    with Progress(console) as progress:
        progress(
            snapshot(12.34, ("a-member-with-a-long-name", *LOADING), ("d", MemberState.STARTING, "x" * 100))
        )
    lines = Text.from_ansi(output.getvalue()).plain.splitlines()
    assert [
        line
        for line in lines
        if "a-member-with-a-lo" in line and "loading weights" in line and "12.3 s" in line
    ]
    assert max(len(line) for line in lines) <= 80


def test_on_a_terminal_the_last_line_sums_up() -> None:
    console, output = terminal()
    with Progress(console) as progress:
        progress(snapshot(52.1, *((name, *READY) for name in ("prefill", "decode", "proxy", "store"))))
    assert output.getvalue().rstrip().endswith("4 members ready in 52.1 s")


def awaiting(elapsed_s: float, owner: str) -> Snapshot:
    holder = {"owner": owner, "pid": 7, "age_s": elapsed_s, "cwd": "/home/ci", "purpose": "'pytest -x'"}
    wait = Wait(device="cuda-0", holder=holder, left_s=600.0 - elapsed_s)
    return Snapshot(members=(), elapsed_s=elapsed_s, waiting=wait)


def test_plain_lines_tell_who_is_waited_for_and_each_minute_that_it_goes_on() -> None:
    console, output = plain()
    with Progress(console) as progress:
        for elapsed_s in (0.0, 0.1, 30.0):
            progress(awaiting(elapsed_s, "run-a"))
        for elapsed_s in (31.0, 32.0, 61.0):
            progress(awaiting(elapsed_s, "run-b"))
        progress(snapshot(0.0, ("decode", *LOADING)))
    lines = output.getvalue().splitlines()
    assert lines[0] == (
        "[  0.0s] waiting up to 600 s more for cuda-0, held by run run-a, process 7, for 0.0 min for "
        "'pytest -x', started in /home/ci"
    )
    assert [line.split(" waiting")[0] for line in lines[:3]] == ["[  0.0s]", "[ 31.0s]", "[ 61.0s]"]
    assert lines[3:] == ["[  0.0s] decode: loading weights"]


def test_a_terminal_shows_the_wait_and_then_the_members() -> None:
    console, output = terminal()
    with Progress(console) as progress:
        progress(awaiting(12.0, "run-a"))
        assert "waiting up to 588 s more for cuda-0" in output.getvalue()
        progress(snapshot(0.0, ("decode", *LOADING)))
    assert "loading weights" in output.getvalue()
