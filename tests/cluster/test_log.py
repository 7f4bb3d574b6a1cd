from __future__ import annotations

import re
from pathlib import Path

import pytest

from pdtest.cluster.log import MemberLog
from pdtest.services.service import LogRules


@pytest.fixture
def log(tmp_path: Path) -> MemberLog:
    return MemberLog(
        path=tmp_path / "decode.log", further=(tmp_path / "own.log",), secrets=frozenset({"hunter2"})
    )


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def test_since_gives_what_came_after_the_mark(log: MemberLog) -> None:
    append(log.path, b"before\n")
    mark = log.mark()
    append(log.path, b"after\nand more\n")
    assert log.since(mark) == ["after", "and more"]
    assert log.since(log.mark()) == []


def test_a_line_half_written_at_the_mark_comes_after_it_whole(log: MemberLog) -> None:
    append(log.path, b"before\nhalf a ")
    mark = log.mark()
    append(log.path, b"line\n")
    assert log.since(mark) == ["half a line"]


def test_files_that_do_not_exist_yet_are_empty(log: MemberLog) -> None:
    mark = log.mark()
    assert log.since(mark) == []
    assert log.tail() == []
    append(log.further[0], b"late\n")
    assert log.since(mark) == ["late"]


def test_a_rotated_file_is_all_new(log: MemberLog) -> None:
    append(log.further[0], b"a long line before\n")
    mark = log.mark()
    log.further[0].write_bytes(b"new\n")
    assert log.since(mark) == ["new"]


def test_tail_gives_the_last_lines_that_say_something(log: MemberLog) -> None:
    append(log.path, b"\n".join(b"line %d\n" % number for number in range(50)))
    assert log.tail(2) == ["line 48", "line 49"]
    mark = log.mark()
    append(log.path, b"line 50\n")
    assert log.tail(5, since=mark) == ["line 50"]


def test_tails_ends_with_the_captured_output(log: MemberLog) -> None:
    append(log.path, b"captured\n")
    append(log.further[0], b"own\n")
    assert log.tails(5) == ["own", "captured"]


def test_bytes_colours_and_progress_bars_become_readable(log: MemberLog) -> None:
    append(log.path, b"\x1b[1;31mred\x1b[0m \xff end\r\n 10%\r 50%\r100%\n\x1b]0;title\x07plain\n")
    assert log.tail() == ["red \N{REPLACEMENT CHARACTER} end", "100%", "plain"]


def test_secrets_are_masked(log: MemberLog) -> None:
    append(log.path, b"args: --api-key hunter2\n")
    assert log.tail() == ["args: --api-key ***"]


def test_errors_since_follows_the_rules(log: MemberLog) -> None:
    rules = LogRules(error=re.compile("ERROR"), harmless=(re.compile("retrying"),))
    append(log.path, b"ERROR old\n")
    mark = log.mark()
    append(log.path, b"ERROR new\nERROR retrying\nINFO fine\n")
    append(log.further[0], b"ERROR elsewhere\n")
    assert log.errors_since(mark, rules) == ["ERROR new", "ERROR elsewhere"]
