from __future__ import annotations

from dataclasses import dataclass

import pytest

from pdtest.embedded.engine.routing import POLICIES, Router


@dataclass
class Rank:
    expected_kv_tokens: int = 0
    sequences: int = 0


def routed(policy: str, lengths: list[int], ranks: int = 2) -> list[int]:
    """Where requests go that come one after the other and stay."""
    router, them = Router(policy), [Rank() for _ in range(ranks)]
    chosen = []
    for length in lengths:
        number = router.choose(them)
        them[number].expected_kv_tokens += length
        them[number].sequences += 1
        chosen.append(number)
    return chosen


def test_by_kv_length_short_ones_make_up_for_a_long_one() -> None:
    assert routed("kv_length", [90, 10, 10, 10, 10]) == [0, 1, 1, 1, 1]


@pytest.mark.parametrize("policy", ["count", "round_robin"])
def test_by_count_lengths_make_no_difference(policy: str) -> None:
    assert routed(policy, [90, 10, 90, 10, 90]) == [0, 1, 0, 1, 0]


def test_by_count_the_rank_with_fewer_requests_is_next_whoever_was_last() -> None:
    router = Router("count")
    assert router.choose([Rank(sequences=2), Rank(sequences=3)]) == 0
    assert router.choose([Rank(sequences=2), Rank(sequences=3)]) == 0


def test_round_robin_looks_at_nothing() -> None:
    router = Router("round_robin")
    ranks = [Rank(sequences=9), Rank(), Rank()]
    assert [router.choose(ranks) for _ in range(4)] == [0, 1, 2, 0]


@pytest.mark.parametrize("policy", POLICIES)
def test_one_rank_takes_everything(policy: str) -> None:
    assert routed(policy, [5, 5, 5], ranks=1) == [0, 0, 0]
