from __future__ import annotations

from typing import Any

import pytest

from pdtest.wire.contract import Leg
from pdtest.wire.nixl import NixlContract
from pdtest.wire.nixl_push import NixlPushContract

PULL, PUSH = NixlContract(), NixlPushContract()


@pytest.fixture
def pushed(answered: dict[str, Any]) -> dict[str, Any]:
    """What prefill answers on vLLM 0.32: as for pull, without a word on leases and prefix hits."""
    pull_only = ("remote_blocks_expiry_time", "remote_prefill_cached_tokens")
    return {
        **{key: value for key, value in answered.items() if key not in pull_only},
        "transfer_mode": "push",
    }


def test_each_mode_knows_its_own_answers(answered: dict[str, Any], pushed: dict[str, Any]) -> None:
    for leg in (Leg.FROM_PREFILL, Leg.TO_DECODE):
        assert PUSH.review(leg, pushed).breaches == ()
        assert PUSH.review(leg, pushed).extra == ()
        assert [breach.field for breach in PUSH.review(leg, answered).breaches] == ["transfer_mode"]
        assert [breach.field for breach in PULL.review(leg, pushed).breaches] == ["transfer_mode"]


def test_it_asks_and_demands_what_pull_does() -> None:
    assert PUSH.params_for_prefill() == PULL.params_for_prefill()
    assert PUSH.demand(70, cached_tokens=32, block_size=32) == PULL.demand(
        70, cached_tokens=32, block_size=32
    )


def test_the_writer_counts() -> None:
    assert PUSH.evidence.moved is not None
    assert PULL.evidence.moved is not None
    assert PUSH.evidence.moved.name == PULL.evidence.moved.name
    assert (PULL.evidence.moved.role, PUSH.evidence.moved.role) == ("decode", "prefill")


def test_block_ids_are_not_falsified_where_nobody_reads_them() -> None:
    assert not [tamper.name for tamper in PUSH.tampers if "block" in tamper.name]


@pytest.mark.parametrize("contract", [PULL, PUSH], ids=["pull", "push"])
def test_what_ascends_clients_add_is_tolerated_and_noted(contract: NixlContract | NixlPushContract) -> None:
    review = contract.review(Leg.TO_PREFILL, {**contract.params_for_prefill(), "aborted_request": []})
    assert (review.breaches, review.drift) == ((), ("aborted_request",))
