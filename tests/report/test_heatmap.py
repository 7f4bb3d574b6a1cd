from __future__ import annotations

import itertools
from array import array
from pathlib import Path

import pytest

from pdtest.report.heatmap import heatmap, picture
from pdtest.xray import Comparison, Diagnosis, Difference, Exposure, Half, Side
from pdtest.xray.exposure import Place, Row
from pdtest.xray.plate import Plate


def diagnosis(wrong: list[Place], *, layers: int = 2, tokens: int = 48, heads: int = 4) -> Diagnosis:
    """Of blocks of 16 tokens."""
    plate = Plate.model_construct(
        side=Side.RECEIVED, prompt=tuple(range(tokens)), block_size=16, cached=0, member="decode",
        first_layer=0, layers=layers, first_head=0, heads=heads, exact=array("Q"),
    )  # fmt: skip
    exposure = Exposure(plates=(plate,))
    nothing = Row(1, 1.0, 1.0)
    comparison = Comparison(
        published=exposure,
        received=exposure,
        tokens=tokens,
        rows=1,
        differences=tuple(Difference(place=place, published=nothing, received=nothing) for place in wrong),
    )
    return Diagnosis(request="r", comparison=comparison, mismatches=(), lines=())


def places(layer: int, half: Half, tokens: range, heads: range) -> list[Place]:
    return [Place(layer, half, token, head) for token, head in itertools.product(tokens, heads)]


def test_a_row_for_k_and_v_of_each_layer() -> None:
    wrong = [
        *places(1, Half.K, range(16, 32), range(4)),
        *places(1, Half.V, range(47, 48), range(1, 3)),
    ]
    assert list(heatmap(diagnosis(wrong))) == [
        "3 blocks of 16 tokens; wrong heads: . none 1-9 + more # all 4",
        "            0",
        "layer 0   K ...",
        "          V ...",
        "layer 1   K .#.",
        "          V ..2",
    ]


def test_many_blocks_share_columns_and_many_layers_are_left_out() -> None:
    wrong = places(40, Half.V, range(16 * 150, 16 * 151), range(1))
    lines = list(heatmap(diagnosis(wrong, layers=48, tokens=16 * 200)))
    assert lines[0].startswith("200 blocks of 16 tokens, 4 to a column;")
    assert lines[1].split() == ["0", "40", "80", "120", "160"]
    assert lines[3] == f"          V {'.' * 37}1{'.' * 12}"
    assert lines[4:] == ["47 further layers are equal"]
    assert max(map(len, lines)) <= 80


def test_more_heads_than_a_digit_tells() -> None:
    wrong = places(0, Half.K, range(1), range(12))
    assert list(heatmap(diagnosis(wrong, layers=1, tokens=16, heads=16)))[2] == "layer 0   K +"


def test_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    file = tmp_path / "pictures" / "one.png"
    assert picture(diagnosis(places(1, Half.K, range(16, 32), range(4))), file) == file
    assert file.read_bytes().startswith(b"\x89PNG")
