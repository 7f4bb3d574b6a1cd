from __future__ import annotations

from pdtest.cluster.stream import LogStream

from .conftest import Workshop
from .fakes import until


def test_lines_carry_the_name_of_their_member(workshop: Workshop) -> None:
    cluster = workshop.cluster({"prefill": {"says": ["one"]}, "decode": {"says": ["two", "three"]}})
    lines: list[str] = []

    with LogStream(lambda: cluster.members, lines.append):
        cluster.start()
        until(lambda: len(lines) == 3, "the lines arrive while the members run")

    assert sorted(lines) == ["decode| three", "decode| two", "prefill| one"]


def test_what_is_left_comes_at_the_end(workshop: Workshop) -> None:
    cluster = workshop.cluster({"decode": {}})
    cluster.start()
    lines: list[str] = []
    with LogStream(lambda: cluster.members, lines.append):
        cluster.members["decode"].log.path.write_text("torn", encoding="utf-8")
    assert lines == ["decode| torn"]
