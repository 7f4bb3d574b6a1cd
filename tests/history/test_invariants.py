from __future__ import annotations

import re

import pytest

from pdtest.events import Event
from pdtest.history import INVARIANTS, History, check

from .conftest import (
    abandoned,
    answered,
    errored,
    finished,
    good,
    handoff,
    held,
    looked,
    members,
    restarted,
    sent,
)

#: What is done to a good history of one handoff, and what must be said of it.
BROKEN: dict[str, tuple[list[Event], str, str]] = {
    "no ending": ([sent("decode", "b")], "one ending", "b to decode never ended"),
    "two endings": (
        [sent("decode", "b"), answered("decode", "b"), errored("decode", "b")],
        "one ending",
        r"b to decode ended 2 times: RequestAnswered, RequestErrored",
    ),
    "answer after giving up": (
        [sent("decode", "b"), abandoned("decode", "b"), answered("decode", "b")],
        "one ending",
        "ended 2 times: RequestAbandoned, RequestAnswered",
    ),
    "answer to nothing": ([answered("decode", "b")], "one ending", "b to decode ended before it was sent"),
    "one id twice": (
        [sent("decode", "b"), sent("decode", "b"), answered("decode", "b")],
        "one ending",
        "more than once under one id",
    ),
    "consumed by another": (
        [sent("decode", "b", params=held("a")), answered("decode", "b")],
        "consumed once",
        r"cmpl-a was asked for 2 times: a to decode, b to decode",
    ),
    "transfer twice": (
        [
            event
            for name in "bc"
            for event in (
                sent("decode", name, params={"do_remote_prefill": True, "transfer_id": "xfer-1"}),
                answered("decode", name),
            )
        ],
        "consumed once",
        "xfer-1 was asked for 2 times",
    ),
    "another's answer": (
        handoff("b", answer="answer to a"),
        "own answer",
        "b to decode got the answer to another prompt, the one of reference-a to colocated",
    ),
    "prompt miscounted": (
        [sent("decode", "b"), answered("decode", "b", prompt_tokens=36)],
        "usage adds up",
        "37 prompt tokens were sent, 36 counted",
    ),
    "too many tokens": (
        [sent("decode", "b"), answered("decode", "b", completion_tokens=17, finish_reasons=("stop",))],
        "usage adds up",
        "17 tokens came, 1 times 16 were allowed",
    ),
    "too few tokens": (
        [sent("decode", "b"), answered("decode", "b", completion_tokens=15)],
        "usage adds up",
        "ended for its length after 15 tokens",
    ),
    "more cached than sent": (
        [sent("decode", "b"), answered("decode", "b", cached_tokens=38)],
        "usage adds up",
        "38 of 37 prompt tokens are said to be cached",
    ),
    "an answer is missing": (
        [sent("decode", "b", n=2), answered("decode", "b", finish_reasons=("stop",))],
        "usage adds up",
        "2 answers were asked for, 1 came",
    ),
    "blocks left behind": (
        [
            sent("prefill", "b", max_tokens=1),
            answered("prefill", "b", completion_tokens=1, params=held("b")),
            looked("prefill", 0.25),
        ],
        "back to quiet",
        r"prefill was not idle after 5 s: KV in use: 0.25; nobody came for what it holds for b to prefill",
    ),
    "still running": ([looked("decode", running=1.0)], "back to quiet", "decode was not .*: running: 1$"),
    "no answer": ([looked("decode", None, answers=False)], "back to quiet", "decode was not .*: no answer$"),
    "still waiting": ([looked("decode", waiting=2.0)], "back to quiet", "decode was not .*: waiting: 2$"),
}


def test_a_good_history_breaks_nothing() -> None:
    assert check(History.of(good("a", "b", "c"))) == ()


@pytest.mark.parametrize("name", BROKEN)
def test_each_fault_breaks_the_invariant_it_belongs_to_and_no_other(name: str) -> None:
    events, invariant, text = BROKEN[name]
    [violation] = check(History.of([*good("a"), *events]))
    assert violation.invariant == invariant
    assert re.search(text, violation.text), violation.text
    assert any(event in events for event in violation.events)


def test_every_invariant_is_seen_to_break() -> None:
    assert {invariant for _, invariant, _ in BROKEN.values()} == set(INVARIANTS)


def test_falsified_parameters_are_consumed_again_on_purpose() -> None:
    again = [sent("decode", "b", params=held("a")), answered("decode", "b"), finished("b", tampered=True)]
    assert check(History.of([*good("a"), *again])) == ()


def test_what_failed_or_was_given_up_has_ended() -> None:
    ended = [sent("decode", "b"), errored("decode", "b"), sent("decode", "c"), abandoned("decode", "c")]
    assert check(History.of([*good("a"), *ended])) == ()


def test_only_the_last_look_counts() -> None:
    assert check(History.of([*members(), looked("decode", 0.5), looked("decode")])) == ()


def test_a_restarted_prefill_holds_nothing_for_anybody() -> None:
    events = [
        sent("prefill", "b", max_tokens=1),
        answered("prefill", "b", completion_tokens=1, params=held("b")),
        restarted("prefill"),
        looked("prefill", 0.25),
    ]
    [violation] = check(History.of([*members(), *events]))
    assert "nobody came" not in violation.text


@pytest.mark.parametrize("exported", [None, 0.0])
def test_a_member_that_exports_nothing_is_not_blamed(exported: float | None) -> None:
    looks = [looked("decode", exported, running=exported, waiting=exported)]
    assert check(History.of([*members(), *looks])) == ()


def test_equal_short_answers_are_no_mixture() -> None:
    short = [
        sent("colocated", "reference", digest="b", max_tokens=2),
        answered("colocated", "reference", "x", completion_tokens=2),
        sent("decode", "b", max_tokens=2),
        answered("decode", "b", "answer to a", completion_tokens=2),
    ]
    assert check(History.of([*good("a"), *short])) == ()
