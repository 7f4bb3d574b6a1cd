from __future__ import annotations

import os
from pathlib import Path

import pytest

from pdtest.models import fingerprint as module
from pdtest.models.fingerprint import NoSuchModel, fingerprint


@pytest.fixture
def model(tmp_path: Path) -> Path:
    directory = tmp_path / "model"
    (directory / "sub").mkdir(parents=True)
    (directory / "config.json").write_text("{}")
    (directory / "sub" / "weights.bin").write_bytes(b"12345678")
    return directory


def test_it_does_not_depend_on_where_the_model_lies(model: Path, tmp_path: Path) -> None:
    before = fingerprint(model)
    assert len(before) == 64
    assert fingerprint(model.rename(tmp_path / "elsewhere")) == before


@pytest.mark.parametrize("change", ["content", "name", "new", "gone"])
def test_any_change_changes_it(model: Path, tmp_path: Path, change: str) -> None:
    before = fingerprint(model, cache=tmp_path / "cache")
    weights = model / "sub" / "weights.bin"
    match change:
        case "content":
            weights.write_bytes(b"12345679")
            os.utime(weights, ns=(1, 1))
        case "name":
            weights.rename(model / "weights.bin")
        case "new":
            (model / "more").write_text("")
        case "gone":
            weights.unlink()
    assert fingerprint(model, cache=tmp_path / "cache") != before


def test_files_that_did_not_change_are_not_read_again(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fingerprint(model, cache=tmp_path)
    monkeypatch.setattr(module, "_digest", lambda _: pytest.fail("read again"))
    assert fingerprint(model, cache=tmp_path) == before


@pytest.mark.parametrize("torn", ["", "[]", "{"])
def test_a_torn_cache_does_no_harm(model: Path, tmp_path: Path, torn: str) -> None:
    before = fingerprint(model)
    (tmp_path / "fingerprints.json").write_text(torn)
    assert fingerprint(model, cache=tmp_path) == before


def test_hidden_files_do_not_count(model: Path) -> None:
    before = fingerprint(model)
    (model / ".cache").mkdir()
    (model / ".cache" / "x").write_text("x")
    assert fingerprint(model) == before


def test_a_model_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NoSuchModel, match="pdtest model make"):
        fingerprint(tmp_path / "absent")
