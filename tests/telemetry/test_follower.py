from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from pdtest.telemetry.follower import Follower


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "decode_dp.log"


@pytest.fixture
def follower(log: Path) -> Iterator[Follower]:
    log.write_text("old\n")
    with Follower(log) as follower:
        yield follower


def append(log: Path, text: str) -> None:
    with log.open("a") as file:
        file.write(text)


def test_only_new_lines_are_given_and_each_once(log: Path, follower: Follower) -> None:
    assert follower.lines() == []
    append(log, "one\ntwo\n")
    assert follower.lines() == ["one", "two"]
    assert follower.lines() == []


def test_from_the_start_all_are_given(log: Path) -> None:
    log.write_text("one\ntwo\n")
    with Follower(log, from_start=True) as follower:
        assert follower.lines() == ["one", "two"]


def test_a_line_counts_once_it_is_whole(log: Path, follower: Follower) -> None:
    append(log, "Engine 000: Run")
    assert follower.lines() == []
    append(log, "ning: 3 reqs\nEng")
    assert follower.lines() == ["Engine 000: Running: 3 reqs"]


def test_a_line_that_is_being_written_when_it_begins_is_given_whole(log: Path) -> None:
    log.write_text("old\nhalf")
    with Follower(log) as follower:
        append(log, " and half\n")
        assert follower.lines() == ["half and half"]


def test_a_file_may_appear_later_and_is_then_all_new(log: Path) -> None:
    with Follower(log) as follower:
        assert follower.lines() == []
        log.write_text("first\n")
        assert follower.lines() == ["first"]


def test_a_rotated_file_is_read_to_its_end_and_then_the_new_one(log: Path, follower: Follower) -> None:
    append(log, "one\n")
    assert follower.lines() == ["one"]
    append(log, "two\n")
    moved = log.rename(log.with_suffix(".log.1"))
    append(moved, "three\n")
    log.write_text("four\n")
    assert follower.lines() == ["two", "three", "four"]
    append(log, "five\n")
    assert follower.lines() == ["five"]


def test_between_rotation_and_the_new_file_the_old_one_goes_on(log: Path, follower: Follower) -> None:
    moved = log.rename(log.with_suffix(".log.1"))
    append(moved, "late\n")
    assert follower.lines() == ["late"]
    assert follower.lines() == []
    log.write_text("new\n")
    assert follower.lines() == ["new"]


class Rotating:
    """A path whose file gets a last line, and is moved away, just before it is looked at again."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def open(self, mode: str) -> Any:
        return self._path.open(mode)

    def stat(self) -> os.stat_result:
        moved = self._path.with_suffix(".log.1")
        if not moved.exists():
            append(self._path, "last\n")
            self._path.rename(moved)
            self._path.write_text("first\n")
        return self._path.stat()


def test_what_is_written_while_it_is_rotated_is_not_lost(log: Path) -> None:
    log.write_text("old\n")
    with Follower(cast("Path", Rotating(log))) as follower:
        assert follower.lines() == ["last", "first"]


def test_half_a_line_of_the_rotated_file_is_not_glued_to_the_new_one(log: Path, follower: Follower) -> None:
    append(log, "half")
    assert follower.lines() == []
    log.rename(log.with_suffix(".log.1"))
    log.write_text("whole\n")
    assert follower.lines() == ["whole"]


def test_a_truncated_file_is_read_from_its_beginning(log: Path, follower: Follower) -> None:
    append(log, "one\nhalf")
    assert follower.lines() == ["one"]
    log.write_text("a\n")
    assert follower.lines() == ["a"]


def test_bytes_that_are_no_text_do_no_harm(log: Path, follower: Follower) -> None:
    with log.open("ab") as file:
        file.write(b"\xff\xfe Engine\r\n")
    assert follower.lines() == ["\ufffd\ufffd Engine"]


def test_large_logs_are_begun_at_their_end(log: Path) -> None:
    log.write_text("x" * (3 << 20) + "\nlast and half")
    with Follower(log) as follower:
        append(log, " of it\n")
        assert follower.lines() == ["last and half of it"]
