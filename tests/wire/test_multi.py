from __future__ import annotations

from typing import Any

import pytest

from pdtest.wire.contract import Contract, Leg
from pdtest.wire.example import ExampleContract
from pdtest.wire.multi import MultiContract, ParamsClash, connectors
from pdtest.wire.nixl import NixlContract

NIXL, EXAMPLE = NixlContract(), ExampleContract()
BOTH = MultiContract(children=(NIXL, EXAMPLE))
STORE_FIRST = MultiContract(children=(EXAMPLE, NIXL))


class Disagreeing(ExampleContract):
    """Another opinion about a key of the request to prefill."""

    name = "disagreeing"

    def params_for_prefill(self) -> dict[str, Any]:
        return {"do_remote_decode": False}


def test_name_and_params_are_the_union() -> None:
    assert BOTH.name == "nixl+example"
    assert BOTH.carries_params
    assert BOTH.params_for_prefill() == NIXL.params_for_prefill()


def test_stores_alone_carry_no_params() -> None:
    stores = MultiContract(children=(EXAMPLE,))
    assert not stores.carries_params
    assert stores.params_for_prefill() is None
    assert stores.params_for_decode(None) is None


def test_answer_is_reviewed_against_all_children(answered: dict[str, Any]) -> None:
    review = BOTH.review(Leg.FROM_PREFILL, {**answered, "first_tok": 3})
    assert (review.breaches, review.extra) == ((), ("first_tok",))
    del answered["tp_size"]
    assert [breach.field for breach in BOTH.review(Leg.FROM_PREFILL, answered).breaches] == ["tp_size"]


@pytest.mark.parametrize(
    ("contract", "tokens", "carrier"),
    [
        (BOTH, 70, "nixl"),
        (BOTH, 65, "nixl"),
        (STORE_FIRST, 70, "example"),
        # The store misses in silence, so the next child loads.
        (STORE_FIRST, 65, "nixl"),
        (STORE_FIRST, 20, "nixl"),
        # NIXL fetches the block, although the token counts as computed.
        (STORE_FIRST, 1, "nixl"),
        (MultiContract(children=(EXAMPLE, Disagreeing())), 20, "example"),
    ],
)
def test_first_child_with_tokens_loads(contract: Contract, tokens: int, carrier: str) -> None:
    chosen = contract.carrier(tokens, block_size=32)
    assert chosen.name == carrier
    assert contract.demand(tokens, block_size=32) == chosen.demand(tokens, block_size=32)


def test_two_children_that_answer_the_same_key_clash() -> None:
    with pytest.raises(ParamsClash, match="remote_engine_id"):
        MultiContract(children=(NIXL, NixlContract()))


def test_two_children_that_ask_for_different_things_clash() -> None:
    with pytest.raises(ParamsClash, match="do_remote_decode"):
        MultiContract(children=(NIXL, Disagreeing())).params_for_prefill()


def test_tampers_are_those_of_the_children(answered: dict[str, Any]) -> None:
    assert BOTH.tampers == NIXL.tampers
    assert STORE_FIRST.tampered("dead-port", answered, answered) == {**answered, "remote_port": 1}


def test_evidence_of_failures_is_the_union() -> None:
    assert STORE_FIRST.evidence.failures == NIXL.evidence.failures
    assert STORE_FIRST.evidence.expired == NIXL.evidence.expired
    assert STORE_FIRST.evidence.moved is None


def test_a_composition_consists_of_single_connectors() -> None:
    assert connectors(NIXL) == (NIXL,)
    assert connectors(MultiContract(children=(BOTH, EXAMPLE))) == (NIXL, EXAMPLE, EXAMPLE)
