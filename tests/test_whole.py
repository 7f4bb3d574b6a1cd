"""Files that are there whole, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from pdtest.whole import write_whole


def test_a_file_is_made_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.json"

    write_whole(path, "old")
    write_whole(path, "new")

    assert path.read_text(encoding="utf-8") == "new"
    assert [*path.parent.iterdir()] == [path]


def test_what_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_whole(path, "old")

    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "new \ud800")

    assert path.read_text(encoding="utf-8") == "old"
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("mode", [0o600, 0o755])
def test_nobody_reads_more_than_is_meant_for_them(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "command.sh"
    write_whole(path, "secret", mode=mode)
    assert path.stat().st_mode & 0o777 == mode
