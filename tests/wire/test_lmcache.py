from __future__ import annotations

from typing import Any

import pytest

from pdtest.wire.ascend_store import AscendStoreContract
from pdtest.wire.contract import Demand, Leg, Order
from pdtest.wire.lmcache import LmcacheContract
from pdtest.wire.lmcache_pd import LmcachePdContract

STORE, PD = LmcacheContract(), LmcachePdContract()
#: What LMCache's own proxy sends to prefill when decode has two ranks (0.5.6).
ASKED: dict[str, Any] = {
    "ret_first_tok": True,
    "disagg_spec": {
        "req_id": "1",
        "receiver_host": "localhost",
        "receiver_init_port": [7300, 7301],
        "receiver_alloc_port": [7400, 7401],
    },
}


def asked(**changes: Any) -> dict[str, Any]:
    return {**ASKED, "disagg_spec": {**ASKED["disagg_spec"], **changes}}


def test_a_shared_store_says_nothing_on_the_wire_and_a_client_can_lead() -> None:
    assert (STORE.carries_params, STORE.order, STORE.obstacle) == (False, Order.PREFILL_FIRST, None)
    assert STORE.params_for_prefill() is None
    assert STORE.params_for_decode({"first_tok": 3}) is None


@pytest.mark.parametrize("tokens", [1, 15, 16, 17, 40])
def test_it_serves_whole_blocks_as_ascends_store_does(tokens: int) -> None:
    for cached in (0, 16, tokens):
        expected = AscendStoreContract().demand(tokens, cached_tokens=cached, block_size=16)
        assert STORE.demand(tokens, cached_tokens=cached, block_size=16) == expected


def test_what_the_proxy_asks_of_prefill_keeps_the_contract() -> None:
    review = PD.review(Leg.TO_PREFILL, ASKED)
    assert (review.breaches, review.extra, review.drift) == ((), (), ())


@pytest.mark.parametrize("name", ["req_id", "receiver_host", "receiver_init_port", "receiver_alloc_port"])
def test_a_receiver_without_its_address_is_a_breach(name: str) -> None:
    params = asked()
    del params["disagg_spec"][name]
    (breach,) = PD.review(Leg.TO_PREFILL, params).breaches
    assert (breach.field, breach.seen) == (f"disagg_spec.{name}", "no such field")


@pytest.mark.parametrize(
    ("name", "value"),
    [("req_id", 1), ("receiver_host", ""), ("receiver_init_port", ["7300"]), ("receiver_alloc_port", None)],
)
def test_a_receiver_with_a_wrong_address_is_a_breach(name: str, value: object) -> None:
    (breach,) = PD.review(Leg.TO_PREFILL, asked(**{name: value})).breaches
    assert breach.field == f"disagg_spec.{name}"


def test_a_sender_is_told_whom_to_push_to() -> None:
    for params in ({"ret_first_tok": True}, {"disagg_spec": "localhost:7300"}):
        (breach,) = PD.review(Leg.TO_PREFILL, params).breaches
        assert breach.field == "disagg_spec"
    assert [breach.field for breach in PD.review(Leg.TO_PREFILL, None).breaches] == ["kv_transfer_params"]


def test_single_ports_and_the_way_back_are_drift_and_unknown_fields_are_recorded() -> None:
    review = PD.review(Leg.TO_PREFILL, asked(receiver_init_port=7300, receiver_query_port=[7500], own=1))
    assert review.breaches == ()
    assert review.drift == (
        "disagg_spec.receiver_init_port: port number (1 to 65535)",
        "disagg_spec.receiver_query_port",
    )
    assert review.extra == ("disagg_spec.own",)


@pytest.mark.parametrize("answered", [None, {}, {"first_tok": 5}])
def test_prefill_answers_its_token_where_it_is_asked_to(answered: dict[str, Any] | None) -> None:
    assert PD.review(Leg.FROM_PREFILL, answered).breaches == ()


def test_a_token_that_is_none_is_a_breach() -> None:
    (breach,) = PD.review(Leg.FROM_PREFILL, {"first_tok": "Paris"}).breaches
    assert breach.field == "first_tok"


def test_decode_gets_no_parameters_and_the_proxy_must_lead() -> None:
    assert PD.params_for_decode({"first_tok": 5}) is None
    assert PD.review(Leg.TO_DECODE, None).breaches == ()
    assert PD.obstacle is not None
    assert "ZMQ" in PD.obstacle


def test_decode_computes_the_token_that_prefill_generated() -> None:
    assert PD.demand(33, block_size=16) == Demand(transferred=32, cached=0, computed=1, blocks=2)
