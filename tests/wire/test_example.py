from __future__ import annotations

import pytest

from pdtest.wire.contract import Demand, Leg
from pdtest.wire.example import ExampleContract
from pdtest.wire.tamper import UnknownTamper

CONTRACT = ExampleContract()


@pytest.mark.parametrize(
    ("tokens", "loaded"),
    [
        (1, 0),
        (32, 0),
        (33, 0),
        (34, 32),
        (64, 32),
        # One token beyond whole blocks: saved under one hash, looked for under another.
        (65, 0),
        (66, 64),
        (97, 0),
        (100, 96),
    ],
)
def test_demand(tokens: int, loaded: int) -> None:
    assert CONTRACT.demand(tokens, block_size=32) == Demand(
        transferred=loaded, cached=0, computed=tokens - loaded, blocks=loaded // 32
    )


def test_nothing_is_sent() -> None:
    assert CONTRACT.params_for_prefill() is None
    assert CONTRACT.params_for_decode({"a": 1}) is None
    assert not CONTRACT.review(Leg.FROM_PREFILL, None).breaches


def test_params_that_are_there_all_the_same_are_recorded() -> None:
    review = CONTRACT.review(Leg.FROM_PREFILL, {"first_tok": 1})
    assert (review.breaches, review.extra) == ((), ("first_tok",))


def test_there_is_nothing_to_tamper_with() -> None:
    with pytest.raises(UnknownTamper, match="no params"):
        CONTRACT.tampered("no-params", {}, {})
