from __future__ import annotations

from pathlib import Path

from pdtest.cluster.tail import Tail


def test_gives_each_whole_line_once(tmp_path: Path) -> None:
    path = tmp_path / "log"
    tail = Tail(path)
    assert tail.read() == []
    with path.open("a", encoding="utf-8", buffering=1) as file:
        file.write("one\ntw")
        file.flush()
        assert tail.read() == ["one"]
        assert tail.read() == []
        file.write("o\n\nthree\n")
        file.flush()
        assert tail.read() == ["two", "", "three"]


def test_a_character_cut_in_two_is_put_together(tmp_path: Path) -> None:
    path = tmp_path / "log"
    tail = Tail(path)
    path.write_bytes("é".encode()[:1])
    assert tail.read() == []
    path.write_bytes("é\n".encode())
    assert tail.read() == ["é"]


def test_the_last_read_gives_a_torn_line_too(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("whole\ntorn", encoding="utf-8")
    tail = Tail(path)
    assert tail.read(last=True) == ["whole", "torn"]
    assert tail.read(last=True) == []


def test_a_file_that_became_shorter_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("a long first line\n", encoding="utf-8")
    tail = Tail(path)
    tail.read()
    path.write_text("new\n", encoding="utf-8")
    assert tail.read() == ["new"]
