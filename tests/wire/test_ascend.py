from __future__ import annotations

from typing import Any

import pytest

from pdtest.wire.ascend_layerwise import AscendLayerwiseContract
from pdtest.wire.ascend_mooncake import AscendMooncakeContract
from pdtest.wire.ascend_store import AscendStoreContract
from pdtest.wire.contract import Demand, Leg, Order
from pdtest.wire.multi import MultiContract, leading
from pdtest.wire.nixl import NixlContract

MOONCAKE, LAYERWISE, STORE = AscendMooncakeContract(), AscendLayerwiseContract(), AscendStoreContract()
#: What vllm-ascend's prefill answers (August 2026, kv_p2p/mooncake_connector.py).
ANSWERED = {
    "do_remote_prefill": True,
    "do_remote_decode": False,
    "remote_block_ids": [[1, 2, 3]],
    "remote_engine_id": "engine",
    "remote_request_id": "cmpl-1-0",
    "remote_host": "10.0.0.1",
    "remote_port": 30000,
    "remote_pcp_size": 1,
    "remote_dcp_size": 1,
    "remote_ptp_size": 2,
    "last_token_id": 7,
    "remote_multi_nodes_meta_mapping": {},
    "num_prompt_blocks": 3,
    "remote_block_size": 128,
}
#: What decode reports to the metaserver (kv_p2p/mooncake_layerwise_connector.py).
REPORTED = {
    "token_ids": [],
    "request_id": "cmpl-1-0",
    "do_remote_prefill": False,
    "do_remote_decode": True,
    "remote_block_ids": [[4, 5]],
    "remote_block_size": [128],
    "remote_engine_id": "engine",
    "remote_host": "10.0.0.2",
    "remote_port": 30100,
    "remote_tp_size": 1,
    "remote_pcp_size": 1,
    "remote_dcp_size": 1,
    "remote_cached_tokens": 0,
}


def test_prefills_answer_keeps_the_contract() -> None:
    review = MOONCAKE.review(Leg.FROM_PREFILL, ANSWERED)
    assert (review.breaches, review.extra, review.drift) == ((), (), ())
    assert MOONCAKE.params_for_decode(ANSWERED) == ANSWERED
    assert MOONCAKE.block_ids(ANSWERED) == [[1, 2, 3]]


def test_clients_of_ascend_say_that_no_request_was_given_up() -> None:
    asked = MOONCAKE.params_for_prefill()
    assert asked == {**NixlContract().params_for_prefill(), "aborted_request": []}
    review = MOONCAKE.review(Leg.TO_PREFILL, asked)
    assert (review.breaches, review.extra, review.drift) == ((), (), ())


def test_newer_proxies_leave_it_out_and_older_ones_name_requests() -> None:
    newer = NixlContract().params_for_prefill()
    for asked in (newer, {**newer, "aborted_request": ["cmpl-1", "cmpl-2"]}):
        review = MOONCAKE.review(Leg.TO_PREFILL, asked)
        assert (review.breaches, review.drift) == ((), ())
    (breach,) = MOONCAKE.review(Leg.TO_PREFILL, {**newer, "aborted_request": None}).breaches
    assert breach.field == "aborted_request"


@pytest.mark.parametrize("name", ["remote_request_id", "remote_block_ids", "last_token_id"])
def test_what_decode_needs_is_required(name: str) -> None:
    answered: dict[str, Any] = {key: value for key, value in ANSWERED.items() if key != name}
    assert [breach.field for breach in MOONCAKE.review(Leg.TO_DECODE, answered).breaches] == [name]


def test_vllms_nixl_would_not_pass_for_it(answered: dict[str, Any]) -> None:
    assert [breach.field for breach in MOONCAKE.review(Leg.FROM_PREFILL, answered).breaches] == [
        "last_token_id"
    ]
    assert "tp_size" in MOONCAKE.review(Leg.FROM_PREFILL, answered).extra


def test_layerwise_goes_through_a_proxy_only_and_says_why() -> None:
    assert LAYERWISE.order is Order.DECODE_FIRST
    assert LAYERWISE.obstacle is not None
    assert "metaserver" in LAYERWISE.obstacle


def test_what_decode_reports_is_what_prefill_is_asked() -> None:
    review = LAYERWISE.review(Leg.TO_PREFILL, REPORTED)
    assert (review.breaches, review.drift) == ((), ())
    asked = {"do_remote_prefill": True, "metaserver": "http://10.0.0.3:8000/v1/metaserver"}
    assert LAYERWISE.review(Leg.TO_DECODE, asked).breaches == ()
    (breach,) = LAYERWISE.review(Leg.TO_DECODE, {**asked, "metaserver": "10.0.0.3"}).breaches
    assert breach.field == "metaserver"


@pytest.mark.parametrize(
    ("tokens", "cached", "expected", "blocks"),
    [
        (1, 0, (0, 0, 1), 0),
        (15, 0, (0, 0, 15), 0),
        (17, 0, (16, 0, 1), 1),
        (40, 16, (16, 16, 8), 1),
        (40, 40, (0, 32, 8), 0),
        # A prompt of whole blocks: all are fetched, and the last token is computed once more.
        (16, 0, (15, 0, 1), 1),
        (48, 16, (31, 16, 1), 2),
        (48, 48, (15, 32, 1), 1),
    ],
)
def test_a_store_serves_whole_blocks(
    tokens: int, cached: int, expected: tuple[int, int, int], blocks: int
) -> None:
    demand = STORE.demand(tokens, cached_tokens=cached, block_size=16)
    assert (demand.transferred, demand.cached, demand.computed) == expected
    assert demand.blocks == blocks


def test_the_child_with_parameters_leads_a_composition() -> None:
    both = MultiContract(children=(STORE, MultiContract(children=(MOONCAKE, STORE))))
    assert leading(both) is MOONCAKE
    assert leading(MultiContract(children=(STORE, STORE))) is STORE
    assert leading(LAYERWISE) is LAYERWISE
    assert (both.order, both.obstacle) == (Order.PREFILL_FIRST, None)
    assert both.block_ids(ANSWERED) == [[1, 2, 3]]
    assert MultiContract(children=(NixlContract(), LAYERWISE)).obstacle == LAYERWISE.obstacle


def test_peer_to_peer_goes_before_the_store() -> None:
    both = MultiContract(children=(MOONCAKE, STORE))
    assert both.carrier(5, block_size=16) is MOONCAKE
    assert both.demand(40, block_size=16) == Demand(transferred=40, cached=0, computed=0, blocks=3)
