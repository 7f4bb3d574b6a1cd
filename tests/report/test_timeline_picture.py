from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from pdtest.history import History
from pdtest.report.timeline_picture import timeline_bytes, timeline_picture

from .test_timeline import EVENTS

pytest.importorskip("matplotlib")


@pytest.mark.parametrize(("suffix", "begins"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_a_picture_by_its_suffix(tmp_path: Path, suffix: str, begins: bytes) -> None:
    file = tmp_path / "repro" / "test" / f"timeline.{suffix}"
    assert timeline_picture(History.of(EVENTS), "one ending: it never ended", file) == file
    assert file.read_bytes().startswith(begins)


def test_all_that_is_said_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib as mpl

    monkeypatch.setitem(mpl.rcParams, "svg.fonttype", "none")  # text stays text
    drawn = timeline_bytes(History.of(EVENTS), "the violation")
    assert drawn is not None
    words = {text for node in ET.fromstring(drawn).iter() if (text := (node.text or "").strip())}  # noqa: S314
    assert {"the violation", "4 tokens", "HttpStatusError 500", "no end", "died, exit -9"} <= words
    assert {"0123456789ab  prefill", "fedcba  decode", "answered", "error"} <= words


def test_where_nothing_can_be_written_there_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert timeline_picture(History.of(EVENTS), "", tmp_path / "file" / "timeline.png") is None


def test_nothing_is_drawn_of_nothing(tmp_path: Path) -> None:
    assert timeline_picture(History.of([]), "", tmp_path / "timeline.png") is None
    assert not (tmp_path / "timeline.png").exists()
