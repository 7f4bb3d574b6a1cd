from __future__ import annotations

from typing import Any

from pdtest.kills.params import MutatedContract
from pdtest.wire.contract import Leg
from pdtest.wire.nixl import NixlContract


def answered(*blocks: int, request: str = "a") -> dict[str, Any]:
    return {
        "do_remote_prefill": True,
        "do_remote_decode": False,
        "remote_block_ids": [list(blocks)],
        "remote_engine_id": "e",
        "remote_request_id": request,
        "remote_host": "127.0.0.1",
        "remote_port": 5,
    }


def test_decode_is_told_something_else_and_everything_else_stays() -> None:
    own = NixlContract()
    contract = MutatedContract.of(own, "reversed-blocks")
    assert contract.params_for_decode(answered(1, 2, 3)) == answered(3, 2, 1)
    assert (contract.name, contract.tampers) == (own.name, own.tampers)
    assert contract.params_for_prefill() == own.params_for_prefill()
    assert contract.fields(Leg.TO_DECODE) == own.fields(Leg.TO_DECODE)


def test_what_cannot_be_falsified_stays() -> None:
    contract = MutatedContract.of(NixlContract(), "reversed-blocks")
    assert contract.params_for_decode(answered(1)) == answered(1)
    assert contract.params_for_decode(None) is None


def test_another_ones_are_those_of_the_request_before() -> None:
    contract = MutatedContract.of(NixlContract(), "consumed-params")
    first, second = answered(1, 2), answered(3, 4, request="b")
    assert contract.params_for_decode(first) == first
    assert contract.params_for_decode(second) == first
    assert contract.params_for_decode(first) == second


def test_lost_parameters_are_none() -> None:
    assert MutatedContract.of(NixlContract(), "no-params").params_for_decode(answered(1, 2)) is None
