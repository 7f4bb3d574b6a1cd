from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from pdtest.errors import MissingExtra
from pdtest.models import tiny
from pdtest.models.fingerprint import fingerprint
from pdtest.models.geometry import Geometry
from pdtest.models.recipe import ModelDirectoryTaken

needs_torch = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("torch", "transformers", "tokenizers")),
    reason="torch, transformers and tokenizers are not installed (pip install 'pdtest[model]')",
)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Makes models without torch, and keeps the seeds of those that were made."""
    made: list[int] = []

    def write(_: Any, directory: Path, seed: int) -> None:
        made.append(seed)
        (directory / "config.json").write_text("{}")
        (directory / tiny.MARKER).write_text(json.dumps({"recipe": tiny.RECIPE, "seed": seed}))

    monkeypatch.setattr(tiny, "_libraries", lambda: None)
    monkeypatch.setattr(tiny, "_write", write)
    return made


def test_a_model_is_made_once(tmp_path: Path, quick: list[int]) -> None:
    assert not tiny.exists(tmp_path / "m")
    tiny.make(tmp_path / "m")
    tiny.make(tmp_path / "m")
    assert quick == [0]
    assert tiny.exists(tmp_path / "m")


def test_force_makes_it_anew(tmp_path: Path, quick: list[int]) -> None:
    tiny.make(tmp_path / "m", seed=1)
    tiny.make(tmp_path / "m", seed=2, force=True)
    assert quick == [1, 2]
    assert tiny.exists(tmp_path / "m", seed=2)


def test_another_seed_is_not_replaced_unasked(tmp_path: Path, quick: list[int]) -> None:
    tiny.make(tmp_path / "m", seed=1)
    with pytest.raises(ModelDirectoryTaken, match="another seed"):
        tiny.make(tmp_path / "m", seed=2)


@pytest.mark.parametrize("force", [False, True])
def test_somebody_elses_files_are_never_deleted(tmp_path: Path, quick: list[int], *, force: bool) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "thesis.txt").write_text("x")
    with pytest.raises(ModelDirectoryTaken, match="did not write"):
        tiny.make(tmp_path / "m", force=force)
    assert (tmp_path / "m" / "thesis.txt").read_text() == "x"


def test_an_older_recipe_is_made_anew(tmp_path: Path, quick: list[int]) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / tiny.MARKER).write_text(json.dumps({"recipe": 0, "seed": 0}))
    tiny.make(tmp_path / "m")
    assert tiny.exists(tmp_path / "m")


def test_ensure_keeps_whatever_model_is_there(tmp_path: Path, quick: list[int]) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "config.json").write_text("{}")
    assert tiny.ensure(tmp_path / "theirs") == tmp_path / "theirs"
    assert quick == []
    tiny.ensure(tmp_path / "m")
    assert quick == [0]


def test_makers_at_the_same_time_make_one_model(tmp_path: Path, quick: list[int]) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(tiny.make, [tmp_path / "m"] * 4))
    assert quick == [0]


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(tiny, "_libraries", lambda: None)
    monkeypatch.setattr(tiny, "_write", fail)
    with pytest.raises(OSError, match="disk full"):
        tiny.make(tmp_path / "m")
    assert [path.name for path in tmp_path.iterdir()] == [".m.lock"]


def test_without_torch_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingExtra) as caught:
        tiny.make(tmp_path / "m")
    assert "pip install 'pdtest[model]'" in str(caught.value)


@needs_torch
@pytest.mark.filterwarnings("ignore")
def test_the_model_is_as_small_as_it_says_and_the_same_each_time(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    first, second = tiny.make(tmp_path / "1"), tiny.make(tmp_path / "2")
    assert fingerprint(first) == fingerprint(second)
    geometry = Geometry.read(first)
    assert geometry is not None
    assert geometry.block_bytes(32) == 4 * 2 * 32 * 4 * 32 * 4
    tokenizer = AutoTokenizer.from_pretrained(first)
    assert len(tokenizer) == geometry.vocab_size == 512
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id) == (0, 1)
    assert tokenizer.decode(tokenizer.encode("naïve fox, 你好\n")) == "naïve fox, 你好\n"
    assert tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False).endswith(
        "user: hi\nassistant:"
    )
