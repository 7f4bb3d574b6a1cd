from __future__ import annotations

from collections.abc import Sequence

import pytest

from pdtest.environment.routing import ByPhase, Spread
from pdtest.environment.schema import Role
from pdtest.oracle.routing.findings import (
    alone_findings,
    avoided_findings,
    choices_findings,
    counted_findings,
    home_findings,
    share_findings,
    turn_findings,
    way_findings,
)
from pdtest.oracle.verdict import Finding, Ruling
from pdtest.routing.served import Path

from .made import routed, traffic

THRESHOLD = ByPhase(policy="threshold", input_threshold=128, ratio=4.0)


def ruling(findings: Sequence[Finding]) -> Ruling:
    (finding,) = findings
    return finding.ruling


def test_each_request_takes_its_way() -> None:
    fine = [routed(prompt=128, path=Path.PREFILL), routed(prompt=127, path=Path.HYBRID)]
    assert ruling(way_findings(traffic(*fine), THRESHOLD, hybrids=True)) is Ruling.PASS
    wrong = way_findings(traffic(*fine, routed(prompt=128, path=Path.HYBRID)), THRESHOLD, hybrids=True)
    assert ruling(wrong) is Ruling.FAIL
    assert (
        "1 of 3: 128 tokens for an answer of 2 took hybrid (p1 -> d1), prefill is expected" in wrong[0].text
    )


def test_a_way_that_is_not_known_decides_nothing_unless_another_is_wrong() -> None:
    unknown, wrong = routed(prompt=128, path=None), routed(prompt=128, path=Path.DECODE)
    found = way_findings(traffic(unknown, unknown="no headers"), THRESHOLD, hybrids=True)
    assert ruling(found) is Ruling.INCONCLUSIVE
    assert "no headers" in found[0].text
    assert ruling(way_findings(traffic(unknown, wrong), THRESHOLD, hybrids=True)) is Ruling.FAIL


@pytest.mark.parametrize(
    ("counts", "spread", "expected"),
    [
        ((12, 12), Spread.ROUND_ROBIN, Ruling.PASS),
        ((13, 12), Spread.ROUND_ROBIN, Ruling.PASS),
        ((13, 11), Spread.ROUND_ROBIN, Ruling.FAIL),
        ((18, 8), Spread.RANDOM, Ruling.PASS),
        ((26, 0), Spread.RANDOM, Ruling.FAIL),
        ((24, 24, 0), Spread.CONSISTENT_HASH, Ruling.FAIL),
        ((5,), Spread.RANDOM, Ruling.INCONCLUSIVE),
    ],
)
def test_shares(counts: tuple[int, ...], spread: Spread, expected: Ruling) -> None:
    assert ruling(share_findings({f"d{n}": count for n, count in enumerate(counts)}, spread)) is expected


def test_turns_are_one_each() -> None:
    order = traffic(*(routed(decode=name) for name in ("d1", "d2", "d1", "d2")))
    assert ruling(turn_findings(order, Role.DECODE, 2)) is Ruling.PASS
    order = traffic(*(routed(decode=name) for name in ("d1", "d2", "d2", "d1")))
    assert ruling(turn_findings(order, Role.DECODE, 2)) is Ruling.FAIL


def test_the_busy_get_nothing() -> None:
    sent = traffic(routed(decode="d1"), routed(decode="d2"))
    assert ruling(avoided_findings(sent, Role.DECODE, ["d3"], "work")) is Ruling.PASS
    assert ruling(avoided_findings(sent, Role.DECODE, ["d2"], "work")) is Ruling.FAIL


@pytest.mark.parametrize(
    ("hits", "expected"), [(32, Ruling.PASS), (24, Ruling.PASS), (48, Ruling.FAIL), (12, Ruling.FAIL)]
)
def test_two_choices_of_three(hits: int, expected: Ruling) -> None:
    assert ruling(choices_findings(hits, 48, 2 / 3, "requests")) is expected


def test_one_home_per_key() -> None:
    sent = traffic(routed("p1", "d1"), routed("p2", "d2"), routed("p1", "d2"))
    assert ruling(home_findings(sent, [Role.PREFILL], "aba", "sessions")) is Ruling.PASS
    assert ruling(home_findings(sent, [Role.PREFILL, Role.DECODE], "aba", "sessions")) is Ruling.FAIL
    unknown = traffic(routed(None, None), routed(None, None))
    assert ruling(home_findings(unknown, [Role.PREFILL], "aa", "sessions")) is Ruling.PASS
    assert unknown.known(Role.PREFILL)[0].ruling is Ruling.INCONCLUSIVE


def test_counters_are_held_against_what_the_router_says() -> None:
    told = traffic(routed("p1", "d1"))
    assert counted_findings(told, traffic(routed("p1", "d1")))[-1].ruling is Ruling.PASS
    assert counted_findings(told, traffic(routed("p1", "d2")))[-1].ruling is Ruling.FAIL
    silent = traffic(routed(None, None), unknown="no counters")
    assert counted_findings(told, silent)[-1].ruling is Ruling.INCONCLUSIVE


def test_one_alone_is_idle() -> None:
    assert not alone_findings(["d1"])
    assert ruling(alone_findings([])) is Ruling.INCONCLUSIVE
    assert ruling(alone_findings(["d1", "d2"])) is Ruling.INCONCLUSIVE


def test_what_is_lost_fails() -> None:
    assert ruling(traffic(routed()).answered()) is Ruling.PASS
    lost = traffic(routed(), lost=("timed out",)).answered()
    assert ruling(lost) is Ruling.FAIL
    assert lost[0].text == "1 of 2 requests failed: timed out"
