from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest

from pdtest.client.handoff import Ending, Handoff
from pdtest.client.request import Request
from pdtest.events import VerdictReached, from_json
from pdtest.events.record import Event
from pdtest.oracle.evidence import Reading
from pdtest.oracle.oracle import Oracle
from pdtest.oracle.parity import Tolerance
from pdtest.oracle.verdict import Ruling, Verdict
from pdtest.oracle.volley import Volley
from pdtest.wire.contract import Breach, Leg, Review

from .fakes import (
    BLOCK,
    BLOCK_BYTES,
    PROMPT,
    FakeReference,
    Model,
    claim_of,
    decode_window,
    handoff_of,
    moved,
)

REQUEST = Request.tokens(PROMPT, max_tokens=8)
MOVED = {"moved": 6, "cached": 0, "computed": 0, "bytes": 2 * BLOCK_BYTES}
RIGHT = handoff_of(REQUEST, Model().answer(REQUEST), reviews=(Review(leg=Leg.TO_DECODE),))
Judge = Callable[..., Any]


def volley(*handoffs: Handoff, counts: dict[str, float] | None = None, **settings: Any) -> Volley:
    window = decode_window(MOVED if counts is None else counts)
    return Volley(handoffs=handoffs, window=window, claim=claim_of(moved(6), **settings))


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def judge(events: list[Event]) -> Judge:
    async def judge(shown: Volley, reference: FakeReference | None = None) -> Verdict:
        oracle = Oracle(
            reference=reference or FakeReference(),
            tolerance=Tolerance(logprob=1e-4),
            block_size=BLOCK,
            on_event=events.append,
            test="suite::test",
        )
        return await oracle.judge(shown, "KV moved")

    return judge


def decisive(verdict: Verdict) -> list[str]:
    return [finding.check for finding in verdict.decisive]


async def test_right_answer_and_exact_counters_pass(judge: Judge) -> None:
    assert (await judge(volley(RIGHT))).ruling is Ruling.PASS


async def test_right_answer_that_decode_computed_itself_fails(judge: Judge) -> None:
    verdict = await judge(volley(RIGHT, counts={"moved": 0, "cached": 0, "computed": 6, "bytes": 0}))
    assert verdict.ruling is Ruling.FAIL
    assert decisive(verdict) == ["tokens transferred", "tokens recomputed", "bytes moved"]


async def test_right_answer_without_counters_is_inconclusive_and_names_them(judge: Judge) -> None:
    verdict = await judge(volley(RIGHT, counts={}))
    assert verdict.ruling is Ruling.INCONCLUSIVE
    assert "vllm:prompt_tokens_by_source{source=external_kv_transfer}" in str(verdict)
    assert "vllm:nixl_bytes_transferred_sum" in str(verdict)


async def test_wrong_answer_fails_whatever_the_counters_say(judge: Judge) -> None:
    wrong = handoff_of(REQUEST, Model().answer(REQUEST, second=[1]))
    assert (await judge(volley(wrong))).ruling is Ruling.FAIL
    assert (await judge(volley(wrong, counts={}))).ruling is Ruling.FAIL


async def test_one_wrong_answer_among_right_ones_fails(judge: Judge) -> None:
    wrong = handoff_of(REQUEST, Model().answer(REQUEST, second=[1]))
    assert decisive(await judge(volley(RIGHT, wrong, RIGHT))) == ["parity"]


async def test_scaled_layer_fails_although_all_tokens_are_equal(judge: Judge) -> None:
    scaled = Model(off={len(PROMPT) + position: 1e-2 for position in range(8)})
    answer = scaled.answer(REQUEST)
    assert answer.token_ids == Model().answer(REQUEST).token_ids
    verdict = await judge(volley(handoff_of(REQUEST, answer)))
    assert verdict.ruling is Ruling.FAIL
    assert "off by 0.01" in str(verdict)


async def test_breach_of_the_contract_fails(judge: Judge) -> None:
    breach = Breach(leg=Leg.TO_DECODE, field="remote_port", expected="a port", seen="0")
    broken = replace(RIGHT, reviews=(Review(leg=Leg.TO_DECODE, breaches=(breach,)),))
    verdict = await judge(volley(broken))
    assert decisive(verdict) == ["contract"]
    assert "remote_port: expected a port, seen 0" in str(verdict)


async def test_failed_handoff_fails_with_its_error(judge: Judge) -> None:
    verdict = await judge(volley(handoff_of(REQUEST, None)))
    assert verdict.ruling is Ruling.FAIL
    assert "KV load failed" in str(verdict)


async def test_handoff_that_was_given_up_fails(judge: Judge) -> None:
    given_up = replace(RIGHT, ending=Ending.ABANDONED)
    verdict = await judge(volley(given_up))
    assert verdict.ruling is Ruling.FAIL
    assert "mine: abandoned" in str(verdict)


async def test_nothing_sent_is_inconclusive(judge: Judge) -> None:
    nothing = Volley(handoffs=(), window=decode_window({"moved": 0}), claim=claim_of())
    verdict = await judge(nothing)
    assert verdict.ruling is Ruling.INCONCLUSIVE
    assert "nothing was sent" in str(verdict)


async def test_where_nothing_has_to_move_no_proof_is_needed(judge: Judge) -> None:
    counts = {"moved": 0, "cached": 0, "computed": 6, "bytes": 0}
    computed = replace(moved(0), computed=6)
    shown = Volley(handoffs=(RIGHT,), window=decode_window(counts), claim=claim_of(computed))
    assert (await judge(shown)).ruling is Ruling.PASS


# --- checks that crash ---


async def test_reference_that_crashes_is_inconclusive_with_a_traceback(judge: Judge) -> None:
    reference = FakeReference(fails=lambda _: ZeroDivisionError("by zero"))
    verdict = await judge(volley(RIGHT), reference)
    assert verdict.ruling is Ruling.INCONCLUSIVE
    (finding,) = verdict.decisive
    assert finding.check == "parity"
    assert finding.text.startswith("the check crashed with ZeroDivisionError: by zero\nTraceback")
    assert "in answer" in finding.text


async def test_evidence_that_crashes_is_inconclusive(judge: Judge) -> None:
    shown = volley(RIGHT)
    broken = replace(shown, window=replace(shown.window, after=cast("Reading", None)))
    verdict = await judge(broken)
    assert decisive(verdict) == ["evidence"]
    assert "the check crashed with AttributeError" in str(verdict)


async def test_review_that_crashes_is_inconclusive(judge: Judge) -> None:
    verdict = await judge(volley(replace(RIGHT, reviews=cast("tuple[Review, ...]", None))))
    assert decisive(verdict) == ["contract"]


async def test_a_crash_hides_no_failure(judge: Judge) -> None:
    reference = FakeReference(fails=lambda _: ZeroDivisionError("by zero"))
    assert (await judge(volley(RIGHT, counts={"moved": 0}), reference)).ruling is Ruling.FAIL


async def test_a_crash_keeps_what_was_found_before(judge: Judge) -> None:
    tied = Model(ties=frozenset({len(PROMPT) + 2}))
    reference = FakeReference(tied, fails=lambda asked: None if asked == REQUEST else KeyError("gone"))
    verdict = await judge(volley(handoff_of(REQUEST, tied.answer(REQUEST, second=[2]))), reference)
    assert [finding.check for finding in verdict.findings][:2] == ["tie", "parity"]
    assert decisive(verdict) == ["parity"]


# --- events ---


async def test_every_verdict_is_told(judge: Judge, events: list[Event]) -> None:
    verdict = await judge(volley(RIGHT, RIGHT))
    (told,) = events
    assert isinstance(told, VerdictReached)
    assert (told.test, told.claim, told.ruling) == ("suite::test", "KV moved", "pass")
    assert told.request_ids == ("mine", "mine")
    assert [text for *_, text in told.findings] == [finding.text for finding in verdict.findings]
    assert from_json(told.to_json()) == told


async def test_nobody_need_listen() -> None:
    oracle = Oracle(reference=FakeReference(), tolerance=Tolerance(logprob=1e-4), block_size=BLOCK)
    assert (await oracle.judge(volley(RIGHT), "KV moved")).ruling is Ruling.PASS
