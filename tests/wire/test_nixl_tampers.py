from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdtest.wire.contract import Leg
from pdtest.wire.nixl import NixlContract
from pdtest.wire.tamper import TamperImpossible, UnknownTamper

CONTRACT = NixlContract()
NAMES = [tamper.name for tamper in CONTRACT.tampers]
BLOCKS = [name for name in NAMES if name.endswith("-blocks")]


@st.composite
def handoffs(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters of two requests that are held by prefill at the same time."""
    ids = draw(st.lists(st.integers(0, 999), min_size=4, max_size=12, unique=True))
    cut = draw(st.integers(2, len(ids) // 2))

    def params(blocks: list[int], request: str) -> dict[str, Any]:
        return {
            "do_remote_prefill": True,
            "do_remote_decode": False,
            "remote_block_ids": [blocks],
            "remote_engine_id": "582ad616",
            "remote_request_id": request,
            "remote_host": "127.0.0.1",
            "remote_port": draw(st.integers(1, 65535)),
            "tp_size": 1,
        }

    return params(ids[:cut], "one"), params(ids[cut:], "two")


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25, deadline=None)
@given(pair=handoffs())
def test_tampered_params_differ_and_the_original_stays(
    name: str, pair: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    params, other = pair
    before = copy.deepcopy(pair)
    falsified = CONTRACT.tampered(name, params, other)
    assert falsified != params
    if falsified is not None:
        for blocks in falsified.get("remote_block_ids", []):
            blocks.append(-1)
    assert (params, other) == before


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("no-remote-prefill", {"do_remote_prefill"}),
        ("foreign-blocks", {"remote_block_ids"}),
        ("reversed-blocks", {"remote_block_ids"}),
        ("duplicated-blocks", {"remote_block_ids"}),
        ("last-block-dropped", {"remote_block_ids"}),
        ("unknown-request-id", {"remote_request_id"}),
        ("request-id-dropped", {"remote_request_id"}),
        ("wrong-engine-id", {"remote_engine_id"}),
        ("dead-port", {"remote_port"}),
    ],
)
def test_tampering_changes_one_field(name: str, changed: set[str], answered: dict[str, Any]) -> None:
    falsified = CONTRACT.tampered(name, answered, {**answered, "remote_block_ids": [[7, 8, 9, 10]]})
    assert falsified is not None
    assert {key for key in answered if falsified.get(key) != answered[key]} == changed


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("foreign-blocks", [[7, 8, 9]]),
        ("reversed-blocks", [[3, 2, 1]]),
        ("duplicated-blocks", [[1, 1, 1]]),
        ("last-block-dropped", [[1, 2]]),
    ],
)
def test_block_ids(name: str, blocks: list[list[int]], answered: dict[str, Any]) -> None:
    other = {**answered, "remote_block_ids": [[7, 8, 9, 10]]}
    falsified = CONTRACT.tampered(name, answered, other)
    assert falsified is not None
    assert falsified["remote_block_ids"] == blocks
    flat = CONTRACT.tampered(
        name, {**answered, "remote_block_ids": [1, 2, 3]}, {**other, "remote_block_ids": [7, 8, 9, 10]}
    )
    assert flat is not None
    assert flat["remote_block_ids"] == blocks[0]


def test_no_params_sends_none(answered: dict[str, Any]) -> None:
    assert CONTRACT.tampered("no-params", answered, answered) is None


def test_consumed_params_are_the_other_request_s(answered: dict[str, Any]) -> None:
    other = {**answered, "remote_request_id": "older"}
    assert CONTRACT.tampered("consumed-params", answered, other) == other


@pytest.mark.parametrize("name", ["reversed-blocks", "duplicated-blocks"])
def test_one_block_cannot_be_reordered(name: str, answered: dict[str, Any]) -> None:
    answered["remote_block_ids"] = [[5]]
    with pytest.raises(TamperImpossible, match="nothing would change"):
        CONTRACT.tampered(name, answered, answered)


def test_foreign_blocks_needs_as_many_blocks(answered: dict[str, Any]) -> None:
    with pytest.raises(TamperImpossible, match="fewer blocks"):
        CONTRACT.tampered("foreign-blocks", answered, {**answered, "remote_block_ids": [[9]]})


@pytest.mark.parametrize("name", [*BLOCKS, "last-block-dropped", "request-id-dropped", "wrong-engine-id"])
def test_params_without_the_field_cannot_be_tampered_with(name: str) -> None:
    with pytest.raises(TamperImpossible, match=r"there is no|there are no"):
        CONTRACT.tampered(name, {"do_remote_prefill": True}, {})


def test_unknown_tamper_lists_the_known_ones(answered: dict[str, Any]) -> None:
    with pytest.raises(UnknownTamper, match="reversed-blocks"):
        CONTRACT.tampered("reversed", answered, answered)


def test_review_finds_a_dropped_request_id(answered: dict[str, Any]) -> None:
    falsified = CONTRACT.tampered("request-id-dropped", answered, answered)
    assert [breach.field for breach in CONTRACT.review(Leg.TO_DECODE, falsified).breaches] == [
        "remote_request_id"
    ]
