"""Records as engines leave them: half written, broken, in ranks, under other names, in other blocks."""

from __future__ import annotations

import base64
import json
from array import array
from pathlib import Path
from typing import Any

import pytest

from pdtest.xray import Archive, Half, compare, diagnose

TOKENS, LAYERS, HEADS = 6, 2, 2


def record(**changes: Any) -> dict[str, Any]:
    """What a rank has seen. A row's digests follow from where it belongs, whatever rank and block."""
    said = {
        "form": 1,
        "side": "published",
        "engine": "p",
        "rank": 0,
        "request": "r",
        "sequence": "cmpl-r-0",
        "prompt": list(range(100, 100 + TOKENS)),
        "cached": 0,
        "block_size": 4,
        "blocks": [7, 3],
        "first_layer": 0,
        "layers": LAYERS,
        "first_head": 0,
        "heads": HEADS,
        "at": 1.0,
        "took_s": 0.001,
        **changes,
    }
    wrong = said.pop("wrong", {})
    places = [
        (said["first_layer"] + layer, half, token, said["first_head"] + head)
        for layer in range(said["layers"])
        for half in Half
        for token in range(len(said["prompt"]))
        for head in range(said["heads"])
    ]
    rows = [wrong.get(place, _number(place)) for place in places]
    floats = base64.b64encode(array("f", map(float, rows)).tobytes()).decode()
    exact = base64.b64encode(array("Q", rows).tobytes()).decode()
    return {**said, "exact": exact, "projection": floats, "peak": floats}


def _number(place: tuple[int, Half, int, int]) -> int:
    layer, half, token, head = place
    return 1 + head + 10 * token + 1000 * (half is Half.V) + 10000 * layer


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path)


def write(archive: Archive, member: str, *records: dict[str, Any], end: str = "\n") -> None:
    file = archive.directory / member / "1.jsonl"
    file.parent.mkdir(exist_ok=True)
    with file.open("a", encoding="utf-8") as lines:
        lines.write("\n".join(map(json.dumps, records)) + end)


def received(**changes: Any) -> dict[str, Any]:
    return record(**{"side": "received", "engine": "d", "at": 2.0, **changes})


def test_a_line_is_read_once_it_is_complete(archive: Archive) -> None:
    write(archive, "prefill", record(), end="")
    assert not archive.plates
    write(archive, "prefill", end="\n")
    assert len(archive.plates) == 1
    assert len(archive.plates) == 1
    assert archive.plates[0].member == "prefill"


def test_what_makes_no_sense_is_counted(archive: Archive) -> None:
    write(archive, "prefill", {"form": 1}, {**record(), "heads": 3}, record())
    assert len(archive.plates) == 1
    assert archive.broken == 2


def test_ranks_blocks_and_stages_need_not_be_the_same(archive: Archive) -> None:
    # Published by two tensor-parallel ranks of two pipeline stages each, received by one in smaller blocks.
    write(
        archive,
        "prefill",
        *(
            record(rank=rank, first_head=rank, heads=1, first_layer=layer, layers=1, block_size=4)
            for rank in range(2)
            for layer in range(2)
        ),
    )
    wrong = {(1, Half.V, 3, 1): 0}
    write(archive, "decode", received(block_size=2, blocks=[1, 2, 3], wrong=wrong))
    (seen,) = diagnose(archive, "r")
    assert [(one.layer, one.block, one.head, one.half) for one in seen.mismatches] == [(1, 1, 1, Half.V)]
    assert seen.lines == ("layer 1, block 1 (token 3), KV head 1, V: decode's is zeros",)


def test_a_rank_that_left_no_record_is_said(archive: Archive) -> None:
    write(archive, "prefill", record())
    write(archive, "decode", received(heads=1))
    (seen,) = diagnose(archive, "r")
    assert seen.equal
    assert seen.lines == ("no record of heads 1 on decode",)


@pytest.mark.parametrize(
    ("request_id", "sequence"),
    [
        ("pdtest-1", "cmpl-pdtest-1-0"),
        ("pdtest-1", "cmpl-pdtest-1-0-9afa06d5"),
        ("pdtest-1", "chatcmpl-pdtest-1"),
        ("pdtest-1", "chatcmpl-pdtest-1-9afa06d5"),
    ],
)
def test_vllms_names_are_understood(archive: Archive, request_id: str, sequence: str) -> None:
    write(archive, "prefill", record(request=None, sequence=sequence))
    write(archive, "decode", received(request=None, sequence=sequence))
    assert len(archive.pairs(request_id)) == 1
    assert not archive.pairs("pdtest-2")


def test_where_names_are_lost_the_prompt_tells(archive: Archive) -> None:
    write(
        archive,
        "prefill",
        record(request="other"),
        record(request="wrong", sequence="x", prompt=[1] * TOKENS),
    )
    write(archive, "decode", received())
    ((source, _),) = archive.pairs("r")
    assert source.one.request == "other"


def test_nobody_receives_from_himself_or_from_later(archive: Archive) -> None:
    write(archive, "decode", record(engine="d"), received())
    write(archive, "prefill", record(at=3.0))
    assert not archive.pairs("r")


def test_a_prompt_that_is_exposed_again_counts_as_last_seen(archive: Archive) -> None:
    write(archive, "prefill", record(wrong={(0, Half.K, 0, 0): 5}), record(at=1.5))
    write(archive, "decode", received())
    (seen,) = diagnose(archive, "r")
    assert seen.equal


def test_each_choice_is_a_transfer_of_its_own(archive: Archive) -> None:
    write(archive, "prefill", record())
    write(archive, "decode", received(), received(sequence="cmpl-r-1", wrong={(0, Half.K, 5, 0): 0}))
    assert [seen.equal for seen in diagnose(archive, "r")] == [True, False]


def test_what_decode_computed_itself_may_differ_in_the_last_bits(archive: Archive) -> None:
    write(archive, "prefill", record(wrong={(1, Half.K, 0, 0): 1_000_000}))
    write(archive, "decode", received(cached=4, wrong={(1, Half.K, 0, 0): 1_000_001}))
    published, own = archive.pairs("r")[0]
    assert compare(published, own).equal
    write(archive, "decode", received(cached=0, wrong={(1, Half.K, 0, 0): 1_000_001}))
    published, own = archive.pairs("r")[0]
    assert not compare(published, own).equal


def test_what_was_written_for_others_is_not_read(archive: Archive) -> None:
    write(archive, "prefill", record())
    write(archive, "prefill", record(), end="")
    later = Archive.from_now(archive.directory)
    assert not later.plates
    write(archive, "prefill", end="\n")
    write(archive, "decode", received())
    assert [plate.member for plate in later.plates] == ["decode", "prefill"]
    assert len(archive.plates) == 3
