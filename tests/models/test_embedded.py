from __future__ import annotations

import json
from pathlib import Path

import pytest

from pdtest.models import embedded
from pdtest.models.fingerprint import fingerprint
from pdtest.models.geometry import Geometry
from pdtest.models.recipe import ModelDirectoryTaken


def test_its_geometry_is_read_like_any_models(tmp_path: Path) -> None:
    geometry = Geometry.read(embedded.make(tmp_path / "m"))
    assert geometry is not None
    assert geometry.block_bytes(16) == 4 * 2 * 16 * 4 * 16 * 4
    assert (geometry.vocab_size, geometry.eos_ids) == (259, frozenset({0}))


def test_the_engine_reads_what_is_written(tmp_path: Path) -> None:
    config = pytest.importorskip("pdtest.embedded.model.config")
    read = config.ModelConfig.read(embedded.make(tmp_path / "m", seed=7))
    assert (read.layers, read.hidden, read.heads, read.kv_heads, read.head_dim) == (4, 64, 8, 4, 16)
    assert (read.seed, read.eos_id, read.max_positions) == (7, 0, 4096)


def test_the_seed_tells_models_apart(tmp_path: Path) -> None:
    one, two = embedded.make(tmp_path / "1"), embedded.make(tmp_path / "2", seed=1)
    assert json.loads((two / "config.json").read_text())["seed"] == 1
    assert fingerprint(one) != fingerprint(two)
    assert fingerprint(one) == fingerprint(embedded.make(tmp_path / "3"))


def test_it_is_written_once_and_somebody_elses_is_kept(tmp_path: Path) -> None:
    made = embedded.ensure(tmp_path / "m")
    (made / "config.json").write_text("{}")
    assert (embedded.ensure(tmp_path / "m") / "config.json").read_text() == "{}"
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "thesis.txt").write_text("x")
    with pytest.raises(ModelDirectoryTaken, match="did not write"):
        embedded.ensure(tmp_path / "theirs")
