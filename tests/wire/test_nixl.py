from __future__ import annotations

from typing import Any

import pytest

from pdtest.wire.contract import Demand, Leg
from pdtest.wire.nixl import NixlContract

CONTRACT = NixlContract()
REQUIRED = [field.name for field in CONTRACT.fields(Leg.FROM_PREFILL) if field.required and not field.drift]


def test_request_to_prefill_keeps_its_own_contract() -> None:
    review = CONTRACT.review(Leg.TO_PREFILL, CONTRACT.params_for_prefill())
    assert (review.breaches, review.extra, review.drift) == ((), (), ())


def test_request_to_prefill_with_a_block_id_is_a_breach() -> None:
    params = {**CONTRACT.params_for_prefill(), "remote_block_ids": [[1]]}
    (breach,) = CONTRACT.review(Leg.TO_PREFILL, params).breaches
    assert str(breach) == "request to prefill: remote_block_ids: expected null, seen [[1]] (list)"


@pytest.mark.parametrize("leg", [Leg.FROM_PREFILL, Leg.TO_DECODE])
def test_real_answer_is_accepted_and_its_generation_noted(leg: Leg, answered: dict[str, Any]) -> None:
    review = CONTRACT.review(leg, answered)
    assert review.breaches == ()
    assert review.extra == ()
    assert "transfer_mode" in review.drift
    assert "remote_registration_generation" not in review.drift


def test_older_answer_shows_no_drift(answered: dict[str, Any]) -> None:
    review = CONTRACT.review(Leg.FROM_PREFILL, {name: answered[name] for name in REQUIRED})
    assert (review.breaches, review.drift) == ((), ())


@pytest.mark.parametrize("name", REQUIRED)
def test_required_field_missing_is_a_breach(name: str, answered: dict[str, Any]) -> None:
    del answered[name]
    (breach,) = CONTRACT.review(Leg.FROM_PREFILL, answered).breaches
    assert (breach.field, breach.seen) == (name, "no such field")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("do_remote_prefill", 1),
        ("do_remote_decode", True),
        ("remote_block_ids", None),
        ("remote_block_ids", [["1"]]),
        ("remote_block_ids", [[True]]),
        ("remote_engine_id", ""),
        ("remote_request_id", None),
        ("remote_host", 4),
        ("remote_port", "15600"),
        ("remote_port", 0),
        ("remote_port", 65536),
        ("remote_port", True),
        ("tp_size", 0),
        ("transfer_mode", "push"),
        ("remote_num_tokens", -1),
        ("remote_blocks_expiry_time", "soon"),
    ],
)
def test_wrong_value_is_a_breach(name: str, value: object, answered: dict[str, Any]) -> None:
    answered[name] = value
    (breach,) = CONTRACT.review(Leg.FROM_PREFILL, answered).breaches
    assert breach.field == name


def test_flat_block_ids_are_drift_and_no_breach(answered: dict[str, Any]) -> None:
    answered["remote_block_ids"] = [1, 2, 3]
    review = CONTRACT.review(Leg.FROM_PREFILL, answered)
    assert review.breaches == ()
    assert "remote_block_ids: a list of integer" in review.drift


def test_unknown_field_is_recorded(answered: dict[str, Any]) -> None:
    answered["remote_pcp_size"] = 1
    assert CONTRACT.review(Leg.FROM_PREFILL, answered).extra == ("remote_pcp_size",)


def test_no_params_at_all_is_a_breach() -> None:
    (breach,) = CONTRACT.review(Leg.FROM_PREFILL, None).breaches
    assert breach.field == "kv_transfer_params"


def test_answer_goes_to_decode_verbatim(answered: dict[str, Any]) -> None:
    answered["unheard_of"] = {"nested": [1]}
    assert CONTRACT.params_for_decode(answered) == answered
    assert CONTRACT.params_for_decode(None) is None


@pytest.mark.parametrize(
    ("tokens", "cached", "expected"),
    [
        (31, 0, (31, 0, 1)),
        (32, 0, (32, 0, 1)),
        (33, 0, (33, 0, 2)),
        (70, 0, (70, 0, 3)),
        (70, 32, (38, 32, 2)),
        (70, 64, (6, 64, 1)),
        # A hit on every block still fetches the last one: the scheduler keeps one token to compute.
        (64, 64, (32, 32, 1)),
        (32, 32, (32, 0, 1)),
    ],
)
def test_demand(tokens: int, cached: int, expected: tuple[int, int, int]) -> None:
    transferred, from_cache, blocks = expected
    assert CONTRACT.demand(tokens, cached_tokens=cached, block_size=32) == Demand(
        transferred=transferred, cached=from_cache, computed=0, blocks=blocks
    )


def test_a_prompt_of_one_token_is_fetched_and_counted_as_computed() -> None:
    expected = Demand(transferred=0, cached=0, computed=1, blocks=1)
    assert CONTRACT.demand(1, block_size=32) == expected


def test_demands_add_up() -> None:
    total = CONTRACT.demand(70, block_size=32) + CONTRACT.demand(64, cached_tokens=64, block_size=32)
    assert total == Demand(transferred=102, cached=32, computed=0, blocks=4)


def test_evidence_names_are_those_of_vllm_0_32() -> None:
    evidence = CONTRACT.evidence
    assert str(evidence.tokens.transferred) == ("vllm:prompt_tokens_by_source{source=external_kv_transfer}")
    assert str(evidence.moved) == "vllm:nixl_bytes_transferred_sum"
    assert str(evidence.expired) == "vllm:nixl_num_kv_expired_reqs"
