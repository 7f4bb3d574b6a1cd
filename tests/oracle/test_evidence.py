from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdtest.environment.schema import Role
from pdtest.oracle.evidence import NOTHING, Claim, Share, Window, exceeded, settled, weigh
from pdtest.oracle.verdict import Finding, Ruling, conclude
from pdtest.wire.ascend_mooncake import AscendMooncakeContract
from pdtest.wire.contract import Contract, Demand
from pdtest.wire.evidence import VLLM_TOKENS
from pdtest.wire.example import ExampleContract
from pdtest.wire.multi import MultiContract

from .fakes import BLOCK, BLOCK_BYTES, NIXL, ZERO, claim_of, decode_window, moved, window_of

FOUR = {
    "prefill": Role.PREFILL,
    "prefill-2": Role.PREFILL,
    "decode": Role.DECODE,
    "decode-2": Role.DECODE,
}
EXACT = {"moved": 6, "cached": 0, "computed": 0, "bytes": 2 * BLOCK_BYTES}
TRANSFERRED = VLLM_TOKENS.transferred
EXAMPLE = ExampleContract()
BOTH = MultiContract(children=(NIXL, EXAMPLE))


def ruled(window: Window, claim: Claim) -> Ruling:
    return conclude("KV moved", weigh(window, claim)).ruling


def only(window: Window, claim: Claim, ruling: Ruling) -> list[Finding]:
    return [finding for finding in weigh(window, claim) if finding.ruling is ruling]


def of_four(decode: Mapping[str, float], decode_2: Mapping[str, float], **before: Any) -> Window:
    start = {name: {} if "prefill" in name else ZERO for name in FOUR} | before
    return window_of(start, {"prefill": {}, "prefill-2": {}, "decode": decode, "decode-2": decode_2}, FOUR)


def test_exact_tokens_and_bytes_pass_and_prove() -> None:
    findings = weigh(decode_window(EXACT), claim_of(moved(6)))
    assert {finding.ruling for finding in findings} == {Ruling.PASS}
    assert [finding.check for finding in findings if finding.proof] == ["tokens transferred", "bytes moved"]


@given(st.sampled_from(["moved", "cached", "computed", "bytes"]), st.integers(-6, 20).filter(bool))
def test_anything_but_exact_fails(counter: str, by: int) -> None:
    size = BLOCK_BYTES if counter == "bytes" else 1
    seen = {**EXACT, counter: max(0, EXACT[counter] + by * size)}
    if seen != EXACT:
        assert ruled(decode_window(seen), claim_of(moved(6))) is Ruling.FAIL


@pytest.mark.parametrize("blocks", [1, 3])
def test_one_block_too_few_or_too_many_fails_with_both_numbers(blocks: int) -> None:
    window = decode_window({**EXACT, "bytes": blocks * BLOCK_BYTES})
    (finding,) = only(window, claim_of(moved(6)), Ruling.FAIL)
    assert finding.check == "bytes moved"
    assert finding.text.startswith(
        f"vllm:nixl_bytes_transferred_sum on decode rose by {blocks * BLOCK_BYTES}, the prompts demand 2000"
    )


def test_demands_of_several_handoffs_add_up() -> None:
    window = decode_window({"moved": 15, "cached": 0, "computed": 0, "bytes": 5 * BLOCK_BYTES})
    assert ruled(window, claim_of(moved(6), moved(9))) is Ruling.PASS
    assert ruled(window, claim_of(moved(6), moved(8))) is Ruling.FAIL


def test_what_was_there_before_does_not_count() -> None:
    before = {"moved": 100, "cached": 50, "computed": 7, "bytes": 9e6}
    after = {name: before[name] + EXACT[name] for name in before}
    assert ruled(decode_window(after, before), claim_of(moved(6))) is Ruling.PASS


# --- several members ---


def test_rises_of_all_members_of_a_role_add_up() -> None:
    one, other = {**EXACT, "moved": 2, "bytes": BLOCK_BYTES}, {**EXACT, "moved": 4, "bytes": BLOCK_BYTES}
    assert ruled(of_four(one, other), claim_of(moved(6))) is Ruling.PASS
    assert ruled(of_four(one, one), claim_of(moved(6))) is Ruling.FAIL


def test_prefills_counters_are_not_decodes() -> None:
    window = window_of(
        {"decode": ZERO, "prefill": ZERO}, {"decode": EXACT, "prefill": {**EXACT, "moved": 99}}
    )
    assert ruled(window, claim_of(moved(6))) is Ruling.PASS


def test_a_member_that_does_not_export_a_counter_is_named() -> None:
    silent = {name: value for name, value in EXACT.items() if name != "bytes"}
    window = of_four(EXACT, silent)
    (finding,) = only(window, claim_of(moved(12)), Ruling.INCONCLUSIVE)
    assert finding.text.startswith("decode-2 does not export vllm:nixl_bytes_transferred_sum; expected")


# --- absent counters ---


def test_absent_counters_are_inconclusive_and_named() -> None:
    window = window_of({"decode": {}, "prefill": {}}, {"decode": {}, "prefill": {}})
    assert ruled(window, claim_of(moved(6))) is Ruling.INCONCLUSIVE
    texts = [finding.text for finding in only(window, claim_of(moved(6)), Ruling.INCONCLUSIVE)]
    assert any(str(TRANSFERRED) in text and "expected 6 tokens" in text for text in texts)
    assert any("vllm:nixl_bytes_transferred_sum" in text for text in texts)


def test_no_member_of_the_role_is_inconclusive() -> None:
    window = window_of({"prefill": {}}, {"prefill": {}}, {"prefill": Role.PREFILL})
    assert "there is no decode member" in str(window.gap(TRANSFERRED))
    assert ruled(window, claim_of(moved(6))) is Ruling.INCONCLUSIVE


def test_a_member_that_was_not_read_is_inconclusive() -> None:
    window = window_of({"decode": ZERO}, {}, {"decode": Role.DECODE})
    assert window.gap(TRANSFERRED) == f"decode does not export {TRANSFERRED}"
    assert ruled(window, claim_of(moved(6))) is Ruling.INCONCLUSIVE


def test_a_counter_that_appears_in_between_counts_from_zero() -> None:
    window = decode_window(EXACT, {"other": 1})
    assert window.rise(TRANSFERRED) == 6
    assert window.gap(TRANSFERRED) is None
    assert ruled(window, claim_of(moved(6))) is Ruling.PASS


def test_a_sample_that_appears_in_between_counts_from_zero() -> None:
    before = {"computed": 3}
    assert decode_window({"computed": 3, "moved": 6}, before).rise(TRANSFERRED) == 6


# --- a member that restarted ---


def test_a_counter_that_fell_is_inconclusive_and_says_why() -> None:
    window = decode_window(EXACT, {**ZERO, "moved": 100})
    assert window.rise(TRANSFERRED) is None
    assert ruled(window, claim_of(moved(6))) is Ruling.INCONCLUSIVE
    (finding,) = only(window, claim_of(moved(6)), Ruling.INCONCLUSIVE)
    assert f"{TRANSFERRED} of decode fell from 100 to 6: it restarted" in finding.text


def test_a_fall_on_one_member_does_not_cancel_a_rise_on_another() -> None:
    # Together exactly the demand: 106 - 100.
    window = of_four({**EXACT, "moved": 106}, {**ZERO, "moved": 0}, **{"decode-2": {**ZERO, "moved": 100}})
    assert window.rise(TRANSFERRED) is None
    assert ruled(window, claim_of(moved(6))) is Ruling.INCONCLUSIVE


@pytest.mark.parametrize(
    "born", ["process_start_time_seconds", 'vllm:prompt_tokens_by_source_created{source="local_compute"}']
)
def test_a_restart_shows_although_no_counter_fell(born: str) -> None:
    window = decode_window({**EXACT, born: 200.5}, {**ZERO, born: 100.5})
    assert window.restarted == ("decode",)
    assert window.rise(TRANSFERRED) is None
    assert ruled(window, claim_of(moved(6))) is Ruling.INCONCLUSIVE
    assert "decode restarted in between" in only(window, claim_of(moved(6)), Ruling.INCONCLUSIVE)[0].text


def test_a_restart_of_prefill_is_inconclusive() -> None:
    born = "process_start_time_seconds"
    window = window_of(
        {"decode": ZERO, "prefill": {born: 1, "late": 3}}, {"decode": EXACT, "prefill": {born: 2, "late": 0}}
    )
    (finding,) = only(window, claim_of(moved(6)), Ruling.INCONCLUSIVE)
    assert finding.text.startswith("prefill restarted in between")


def test_a_counter_created_in_between_is_no_restart() -> None:
    born = 'vllm:nixl_bytes_transferred_created{engine="%s"}'
    window = decode_window({**EXACT, born % 0: 5.0, born % 1: 9.0}, {**ZERO, born % 0: 5.0})
    assert window.restarted == ()
    assert ruled(window, claim_of(moved(6))) is Ruling.PASS


# --- bytes of blocks whose size is unknown ---


@pytest.mark.parametrize(
    ("seen", "blocks", "ruling"),
    [(500.0, 2, Ruling.PASS), (0.0, 2, Ruling.FAIL), (500.0, 0, Ruling.FAIL), (0.0, 0, Ruling.PASS)],
)
def test_blocks_of_unknown_size_must_move_or_not(seen: float, blocks: int, ruling: Ruling) -> None:
    claim = claim_of(moved(6, blocks), block_bytes=None)
    (finding,) = (
        one for one in weigh(decode_window({**EXACT, "bytes": seen}), claim) if one.check == "bytes moved"
    )
    assert (finding.ruling, finding.proof) == (ruling, ruling is Ruling.PASS and blocks > 0)


def test_blocks_of_unknown_size_need_a_counter_all_the_same() -> None:
    silent = {name: value for name, value in EXACT.items() if name != "bytes"}
    window = decode_window(silent, silent | {"moved": 0})
    (finding,) = only(window, claim_of(moved(6), block_bytes=None), Ruling.INCONCLUSIVE)
    assert (
        finding.text
        == "decode does not export vllm:nixl_bytes_transferred_sum; expected some for 2 blocks bytes"
    )


# --- counters that only some generations of a connector export ---

ASCEND = AscendMooncakeContract()
_ASCENDS_BYTES = "vllm:mooncake_bytes_transferred_sum"
TOKENS_ONLY = {name: value for name, value in EXACT.items() if name != "bytes"}


@pytest.mark.parametrize("block_bytes", [BLOCK_BYTES, None])
def test_where_such_a_counter_is_absent_tokens_prove(block_bytes: int | None) -> None:
    claim = claim_of(moved(6), contract=ASCEND, block_bytes=block_bytes)
    window = decode_window(TOKENS_ONLY, TOKENS_ONLY | {"moved": 0})
    assert ruled(window, claim) is Ruling.PASS
    assert [finding.check for finding in weigh(window, claim) if finding.proof] == ["tokens transferred"]
    assert ruled(window, claim_of(moved(5), contract=ASCEND, block_bytes=block_bytes)) is Ruling.FAIL


@pytest.mark.parametrize(
    ("block_bytes", "seen", "ruling"),
    [
        (BLOCK_BYTES, 2 * BLOCK_BYTES, Ruling.PASS),
        (BLOCK_BYTES, BLOCK_BYTES, Ruling.FAIL),
        (None, 0, Ruling.FAIL),
    ],
)
def test_where_it_is_there_it_counts(block_bytes: int | None, seen: int, ruling: Ruling) -> None:
    window = decode_window({**TOKENS_ONLY, _ASCENDS_BYTES: seen}, {**ZERO, _ASCENDS_BYTES: 0})
    assert ruled(window, claim_of(moved(6), contract=ASCEND, block_bytes=block_bytes)) is ruling


def test_where_only_one_member_has_it_that_is_an_open_question() -> None:
    window = of_four({**TOKENS_ONLY, _ASCENDS_BYTES: 2 * BLOCK_BYTES}, TOKENS_ONLY)
    (finding,) = only(window, claim_of(moved(12), contract=ASCEND), Ruling.INCONCLUSIVE)
    assert finding.text.startswith(f"decode-2 does not export {_ASCENDS_BYTES}")


# --- failures ---


@pytest.mark.parametrize(
    ("name", "side"), [("failures", "decode"), ("vllm:nixl_num_failed_notifications_total", "decode")]
)
def test_failure_counters_must_not_rise(name: str, side: str) -> None:
    window = decode_window({**EXACT, name: 4}, {**ZERO, name: 3})
    (finding,) = only(window, claim_of(moved(6)), Ruling.FAIL)
    assert finding.check == "transfer failures"
    assert f"on {side} rose by 1 (" in finding.text
    assert ruled(decode_window({**EXACT, name: 3}, {**ZERO, name: 3}), claim_of(moved(6))) is Ruling.PASS


def test_a_lease_that_ran_out_is_none_of_this_volleys_business() -> None:
    # It may be an earlier test's: prefill frees blocks that nobody fetched half a minute later.
    assert ruled(decode_window(EXACT, prefill={"expired": 1}), claim_of(moved(6))) is Ruling.PASS


@pytest.mark.parametrize(
    ("late", "further_choices", "ranks", "ruling"),
    [
        (0, 0, 1, Ruling.PASS),
        (1, 0, 1, Ruling.FAIL),
        (1, 0, 2, Ruling.FAIL),
        (1, 1, 1, Ruling.PASS),
        (2, 1, 1, Ruling.FAIL),
        (2, 1, 2, Ruling.PASS),
        (3, 1, 2, Ruling.FAIL),
    ],
)
def test_late_reads_are_those_of_further_choices_and_no_more(
    late: int, further_choices: int, ranks: int, ruling: Ruling
) -> None:
    window = decode_window(EXACT, prefill={"late": late})
    first = Share(carrier=NIXL, demand=moved(6))
    choices = (Share(carrier=NIXL, demand=NOTHING, instead=first),) * further_choices
    claim = replace(composed(first, *choices, contract=NIXL), ranks=ranks)
    assert ruled(window, claim) is ruling


# A choice beyond the first: 6 tokens in 2 blocks by itself, or one block of 2 tokens after a hit of 4.
FURTHER = Share(
    carrier=NIXL,
    demand=moved(6),
    instead=Share(carrier=NIXL, demand=Demand(transferred=2, cached=4, computed=0, blocks=1)),
)


@pytest.mark.parametrize(
    ("transferred", "cached", "blocks", "ruling"),
    [
        (18, 0, 6, Ruling.PASS),
        (14, 4, 5, Ruling.PASS),
        (10, 8, 4, Ruling.PASS),
        (6, 12, 3, Ruling.FAIL),  # the first choice fetched nothing either
        (14, 4, 4, Ruling.FAIL),  # a block lost
        (14, 0, 5, Ruling.FAIL),  # tokens lost
    ],
)
def test_further_choices_fetch_or_find_but_always_add_up(
    transferred: int, cached: int, blocks: int, ruling: Ruling
) -> None:
    seen = {**ZERO, "moved": transferred, "cached": cached, "bytes": blocks * BLOCK_BYTES}
    claim = composed(Share(carrier=NIXL, demand=moved(6)), FURTHER, FURTHER, contract=NIXL)
    window = decode_window(seen)
    assert ruled(window, claim) is ruling
    assert settled(window, claim) is (ruling is Ruling.PASS)
    assert exceeded(window, claim) is False or ruling is Ruling.FAIL


def test_many_further_choices_have_few_sums() -> None:
    claim = composed(Share(carrier=NIXL, demand=moved(6)), *[FURTHER] * 40, contract=NIXL)
    ways = list(claim.ways())
    assert len(ways) == 41
    assert ways[0].demand.transferred == 41 * 6
    assert {way.further_choices for way in ways} == {40}


# --- compositions ---


def composed(*shares: Share, contract: Contract = BOTH) -> Claim:
    return Claim(contract=contract, shares=shares, block_bytes=BLOCK_BYTES)


def test_prompts_that_nixl_carries_are_held_against_nixls_bytes() -> None:
    claim = composed(Share(carrier=NIXL, demand=moved(6)))
    assert ruled(decode_window(EXACT), claim) is Ruling.PASS
    (finding,) = only(decode_window({**EXACT, "bytes": BLOCK_BYTES}), claim, Ruling.FAIL)
    assert finding.check == "bytes moved by nixl"


def test_mixed_carriers_are_summed_per_carrier() -> None:
    stored = Demand(transferred=8, cached=0, computed=2, blocks=2)
    claim = composed(*(Share(carrier=NIXL, demand=moved(6)),) * 2, Share(carrier=EXAMPLE, demand=stored))
    counts = {"moved": 20, "cached": 0, "computed": 2, "bytes": 4 * BLOCK_BYTES}
    assert ruled(decode_window(counts), claim) is Ruling.PASS
    # NIXL moving the store's blocks as well is as wrong as it moving too few of its own.
    for blocks in (2, 3, 6):
        assert ruled(decode_window({**counts, "bytes": blocks * BLOCK_BYTES}), claim) is Ruling.FAIL


def test_a_connector_that_carries_nothing_must_not_move_anything() -> None:
    stored = Demand(transferred=8, cached=0, computed=2, blocks=2)
    counts = {"moved": 8, "cached": 0, "computed": 2, "bytes": 0}
    claim = composed(Share(carrier=EXAMPLE, demand=stored))
    assert ruled(decode_window(counts), claim) is Ruling.PASS
    assert ruled(decode_window({**counts, "bytes": BLOCK_BYTES}), claim) is Ruling.FAIL


def test_failures_and_late_reads_of_every_part_count() -> None:
    claim = composed(Share(carrier=NIXL, demand=moved(6)))
    assert ruled(decode_window({**EXACT, "failures": 1}), claim) is Ruling.FAIL
    assert ruled(decode_window(EXACT, prefill={"late": 1}), claim) is Ruling.FAIL


# --- waiting ---


def test_settled_and_exceeded() -> None:
    claim = claim_of(moved(6))
    early, exact = decode_window({**EXACT, "bytes": 0}), decode_window(EXACT)
    beyond = decode_window({**EXACT, "moved": 7, "bytes": 0})
    assert [(settled(window, claim), exceeded(window, claim)) for window in (early, exact, beyond)] == [
        (False, False),
        (True, False),
        (False, True),
    ]


def test_absent_counters_are_not_waited_for() -> None:
    assert settled(decode_window({}, {}), claim_of(moved(6)))


def test_block_is_what_the_tests_think_it_is() -> None:
    assert moved(6).blocks * BLOCK >= 6
