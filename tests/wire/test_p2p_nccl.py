from __future__ import annotations

import re

import pytest

from pdtest.wire.contract import Leg, Station
from pdtest.wire.p2p_nccl import P2pNcclContract

CONTRACT = P2pNcclContract()
PREFILL = Station(address="10.0.0.1", ports={"http": 8100, "p2p": 21001})
DECODE = Station(address="10.0.0.2", ports={"http": 8200, "p2p": 22001})


def test_the_request_id_carries_both_addresses() -> None:
    made = CONTRACT.request_id("mine", PREFILL, DECODE)
    # The expressions that vLLM's p2p_nccl_connector.py reads it with.
    assert re.search(r"___decode_addr_(.*):(\d+)", made).groups() == ("10.0.0.2", "22001")  # type: ignore[union-attr]
    assert re.search(r"___prefill_addr_(.*):(\d+)___", made).groups() == ("10.0.0.1", "21001")  # type: ignore[union-attr]
    assert re.fullmatch(r"___prefill_addr_\S+___decode_addr_\S+_[0-9a-f]{32}", made)


def test_request_ids_differ_as_their_own_parts_do() -> None:
    assert CONTRACT.request_id("a", PREFILL, DECODE) == CONTRACT.request_id("a", PREFILL, DECODE)
    assert CONTRACT.request_id("a", PREFILL, DECODE) != CONTRACT.request_id("b", PREFILL, DECODE)


def test_nothing_else_is_on_the_wire() -> None:
    assert not CONTRACT.carries_params
    assert CONTRACT.params_for_prefill() is None
    assert CONTRACT.params_for_decode({"any": 1}) is None
    assert CONTRACT.tampers == ()
    assert CONTRACT.review(Leg.TO_DECODE, None).breaches == ()


@pytest.mark.parametrize(
    ("tokens", "cached", "expected"),
    [
        (1, 0, (0, 0, 1)),
        (32, 0, (31, 0, 1)),
        (33, 0, (32, 0, 1)),
        (33, 32, (0, 32, 1)),
        (70, 32, (37, 32, 1)),
        (64, 64, (31, 32, 1)),
    ],
)
def test_the_last_token_is_left_to_decode(tokens: int, cached: int, expected: tuple[int, int, int]) -> None:
    demand = CONTRACT.demand(tokens, cached_tokens=cached, block_size=32)
    assert (demand.transferred, demand.cached, demand.computed) == expected
