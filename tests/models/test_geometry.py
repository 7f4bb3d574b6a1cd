from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pdtest.models.geometry import Geometry

CONFIG: dict[str, Any] = {
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 32,
    "hidden_size": 256,
    "vocab_size": 512,
    "dtype": "float32",
    "eos_token_id": 0,
}


def read(directory: Path, **changes: Any) -> Geometry | None:
    config = {key: value for key, value in {**CONFIG, **changes}.items() if value != "absent"}
    (directory / "config.json").write_text(json.dumps(config))
    return Geometry.read(directory)


def test_bytes_of_a_block_count_k_and_v_in_every_layer(tmp_path: Path) -> None:
    geometry = read(tmp_path)
    assert geometry is not None
    assert geometry.block_bytes(32) == 131_072
    assert geometry.eos_ids == {0}


def test_what_older_and_other_models_write_is_understood(tmp_path: Path) -> None:
    geometry = read(
        tmp_path, dtype="absent", torch_dtype="bfloat16", head_dim="absent", num_key_value_heads="absent"
    )
    assert geometry is not None
    assert (geometry.kv_heads, geometry.head_dim, geometry.dtype_bytes) == (8, 32, 2)


def test_several_ends_of_an_answer_are_kept(tmp_path: Path) -> None:
    geometry = read(tmp_path, eos_token_id=[1, 2])
    assert geometry is not None
    assert geometry.eos_ids == {1, 2}


def test_the_served_dtype_may_differ_from_the_files(tmp_path: Path) -> None:
    read(tmp_path)
    geometry = Geometry.read(tmp_path, dtype="float16")
    assert geometry is not None
    assert geometry.dtype_bytes == 2


def test_a_language_model_inside_a_multimodal_one_is_found(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"text_config": CONFIG}))
    geometry = Geometry.read(tmp_path)
    assert geometry is not None
    assert geometry.layers == 4


@pytest.mark.parametrize("text", [None, "{", "[]", "{}", '{"text_config": 1}'])
def test_what_cannot_be_read_has_no_geometry(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    assert Geometry.read(tmp_path) is None
