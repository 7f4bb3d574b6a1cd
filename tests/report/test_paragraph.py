from __future__ import annotations

import pytest

from pdtest.report.paragraph import WIDTH, clipped, paragraph


def test_short_text_stays_on_its_line() -> None:
    assert list(paragraph("short", first="  ")) == ["  short"]


def test_long_text_is_broken_between_words_and_indented() -> None:
    rows = list(paragraph("word " * 60, first="- ", rest="    "))
    assert (len(rows), rows[0][:7], rows[1][:8]) == (3, "- word ", "    word")
    assert max(map(len, rows)) <= WIDTH
    assert " ".join(rows).count("word") == 60


def test_line_breaks_and_the_indentation_of_lines_are_kept() -> None:
    assert list(paragraph("a\n\n  b", first="- ", rest="  ")) == ["- a", "", "    b"]


@pytest.mark.parametrize("line", ["x" * 5000, "word " * 1000])
def test_an_endless_line_of_a_log_ends(line: str) -> None:
    rows = list(clipped(line, first="  | ", rest="  |   "))
    assert (len(rows), rows[-1]) == (4, "  |   ...")
    assert max(map(len, rows)) <= WIDTH


def test_a_log_line_of_a_few_rows_is_whole() -> None:
    rows = list(clipped("word " * 60, first="  | ", rest="  |   "))
    assert " ".join(rows).count("word") == 60
