from __future__ import annotations

from typing import Any

import pytest

from pdtest.wire.contract import Demand, Leg, Order
from pdtest.wire.mooncake import MooncakeContract
from pdtest.wire.tamper import TamperImpossible

CONTRACT = MooncakeContract()
INTRODUCED = {"remote_bootstrap_addr": "http://10.0.0.1:8998", "remote_engine_id": "engine-0"}
#: As vLLM 0.32 answers GET /query of two data-parallel ranks.
QUERY = {
    "1": {"engine_id": "engine-1", "worker_addr": {"0": {"0": "10.0.0.1:4001"}}},
    "0": {"engine_id": "engine-0", "worker_addr": {"0": {"0": "10.0.0.1:4000"}}},
}


def sent_to_decode() -> dict[str, Any]:
    params = CONTRACT.params_for_decode({**CONTRACT.params_for_prefill(), **INTRODUCED})
    assert params is not None
    return params


def test_both_requests_keep_the_contract_and_prefill_answers_nothing() -> None:
    assert CONTRACT.order is Order.TOGETHER
    assert CONTRACT.review(Leg.TO_PREFILL, CONTRACT.params_for_prefill()).breaches == ()
    assert CONTRACT.review(Leg.TO_DECODE, sent_to_decode()).breaches == ()
    assert CONTRACT.review(Leg.FROM_PREFILL, None).breaches == ()


def test_every_handoff_has_a_transfer_id_of_its_own_on_both_legs() -> None:
    first, second = CONTRACT.params_for_prefill(), CONTRACT.params_for_prefill()
    assert first["transfer_id"] != second["transfer_id"]
    to_decode = CONTRACT.params_for_decode({**first, **INTRODUCED})
    assert to_decode == {
        "do_remote_prefill": True,
        "do_remote_decode": False,
        "transfer_id": first["transfer_id"],
        **INTRODUCED,
    }


def test_decode_is_told_nothing_while_nobody_is_introduced() -> None:
    assert CONTRACT.params_for_decode(CONTRACT.params_for_prefill()) is None
    assert CONTRACT.params_for_decode(None) is None


def test_the_first_data_parallel_rank_is_introduced() -> None:
    introduction = CONTRACT.introduction
    assert introduction is not None
    assert (introduction.port, introduction.path) == ("bootstrap", "/query")
    assert introduction.read("http://10.0.0.1:8998", QUERY) == INTRODUCED


@pytest.mark.parametrize("said", [{}, [], None, {"0": {}}, {"zero": {"engine_id": "e"}}, {"0": None}])
def test_an_introduction_of_another_shape_is_refused(said: Any) -> None:
    introduction = CONTRACT.introduction
    assert introduction is not None
    with pytest.raises(ValueError, match="expected data-parallel ranks"):
        introduction.read("http://10.0.0.1:8998", said)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("transfer_id", ""),
        ("remote_engine_id", None),
        ("remote_bootstrap_addr", "10.0.0.1:8998"),
        ("do_remote_prefill", False),
    ],
)
def test_a_wrong_value_is_a_breach(name: str, value: object) -> None:
    (breach,) = CONTRACT.review(Leg.TO_DECODE, {**sent_to_decode(), name: value}).breaches
    assert breach.field == name


def test_demand_is_the_whole_prompt() -> None:
    expected = Demand(transferred=38, cached=32, computed=0, blocks=2)
    assert CONTRACT.demand(70, cached_tokens=32, block_size=32) == expected


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("foreign-transfer", "transfer_id"),
        ("unknown-transfer", "transfer_id"),
        ("wrong-engine-id", "remote_engine_id"),
        ("dead-bootstrap", "remote_bootstrap_addr"),
        ("no-remote-prefill", "do_remote_prefill"),
    ],
)
def test_a_tamper_changes_one_field(name: str, changed: str) -> None:
    params, other = sent_to_decode(), sent_to_decode()
    falsified = CONTRACT.tampered(name, params, other)
    assert falsified is not None
    assert {key for key in params if falsified[key] != params[key]} == {changed}
    assert falsified.keys() == params.keys()
    assert not CONTRACT.review(Leg.TO_DECODE, {**falsified, "do_remote_prefill": True}).breaches


def test_spent_parameters_are_the_others_and_none_are_none() -> None:
    params, other = sent_to_decode(), sent_to_decode()
    assert CONTRACT.tampered("consumed-params", params, other) == other
    assert CONTRACT.tampered("no-params", params, other) is None


def test_a_foreign_transfer_needs_one() -> None:
    with pytest.raises(TamperImpossible, match="no transfer_id"):
        CONTRACT.tampered("foreign-transfer", sent_to_decode(), {})


def test_prefill_counts_what_moved_and_both_sides_what_failed() -> None:
    evidence = CONTRACT.evidence
    assert evidence.moved is not None
    assert (str(evidence.moved), evidence.moved.role) == ("vllm:mooncake_bytes_transferred_sum", "prefill")
    assert {counter.role.value for counter in evidence.failures} == {"prefill", "decode"}
