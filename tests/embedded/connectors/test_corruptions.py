"""What is done to received KV on purpose. That each is found and named is tested in tests/xray."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pdtest.embedded.connectors.corrupted import CorruptedConnector
from pdtest.embedded.connectors.corruptions import KINDS, BadCorruption, Corruption
from pdtest.embedded.engine.arguments import read
from pdtest.embedded.model.memory import Array

SHAPE = (3, 2, 4, 8, 4, 5)


@pytest.fixture
def received() -> Array:
    return np.random.default_rng(1).standard_normal(SHAPE, dtype=np.float32)


@pytest.fixture
def before() -> Array:
    return np.random.default_rng(2).standard_normal(SHAPE, dtype=np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_each_changes_what_it_should_and_nothing_is_done_to_what_it_is_given(
    kind: str, received: Array, before: Array
) -> None:
    kept = received.copy(), before.copy()
    assert (Corruption.read(kind).apply(received, before) != received).any()
    assert np.array_equal(received, kept[0])
    assert np.array_equal(before, kept[1])


def test_only_the_part_that_is_asked_for(received: Array, before: Array) -> None:
    asked = Corruption.read("one-token,layer=1,block=-1,head=2,token=7,half=v")
    changed = (asked.apply(received, before) != received).nonzero()
    assert {tuple(place[:-1]) for place in zip(*changed, strict=True)} == {(1, 1, 3, 7, 2)}


def test_what_is_said_to_be_all_is_all(received: Array, before: Array) -> None:
    assert not Corruption.read("zeroed,block=all").apply(received, before).any()


@pytest.mark.parametrize("where", ["block=4", "block=-5", "layer=3", "head=4"])
def test_where_there_is_no_such_part_nothing_happens(where: str, received: Array, before: Array) -> None:
    assert Corruption.read(f"zeroed,{where}").apply(received, before) is received


def test_bfloat16_and_back(before: Array) -> None:
    exact = np.full(SHAPE, 1.5, np.float32)
    assert np.array_equal(Corruption.read("low-precision").apply(exact, before), exact)
    between = np.full(SHAPE, 1 + 3 / 512, np.float32)
    assert np.array_equal(
        Corruption.read("low-precision").apply(between, before), np.full(SHAPE, 1 + 1 / 128)
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bent", "expected one of duplicated, .*zeroed, got 'bent'"),
        ("zeroed,row=1", "zeroed: expected one of layer, block, .*, got 'row'"),
        ("zeroed,block=x", "block: expected a number, got 'x'"),
        ("zeroed,half=q", "half: expected k or v, got 'q'"),
        ("scaled,factor=all", "factor: expected a number, got 'all'"),
    ],
)
def test_what_makes_no_sense_is_said(text: str, message: str) -> None:
    with pytest.raises(BadCorruption, match=message):
        Corruption.read(text)


def test_an_engine_does_not_start_with_what_makes_no_sense(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read(["--model", "x", "--fault-transfer", "bent"], {})
    assert "--fault-transfer: expected one of" in capsys.readouterr().err


def test_a_file_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "fault"
    connector = CorruptedConnector(None, None, f"@{file}")  # type: ignore[arg-type]
    assert connector._current() is None
    file.write_text("zeroed,layer=2\n")
    first = connector._current()
    assert first == Corruption.read("zeroed,layer=2")
    assert connector._current() is first
    file.write_text("")
    assert connector._current() is None
