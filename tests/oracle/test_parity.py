from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdtest.client.answer import Answer, Candidate
from pdtest.client.request import Request
from pdtest.oracle.parity import Comparison, Divergence, Tolerance, compare, is_open, is_tie

from .fakes import BLOCK, NAN, PROMPT, Model, answer_of, environment_of

REQUEST = Request.tokens(PROMPT, max_tokens=8)
STRICT = Tolerance(logprob=1e-4)
MODEL = Model()
REFERENCE = MODEL.answer(REQUEST)


def held(ours: Answer, theirs: Answer = REFERENCE, offset: int = 0) -> Comparison:
    return compare(ours, theirs, tolerance=STRICT, block_size=BLOCK, offset=offset)


def changed(answer: Answer = REFERENCE, **changes: Any) -> Answer:
    return replace(answer, choices=(replace(answer.choices[0], **changes),))


def shifted(position: int, by: float) -> Answer:
    logprobs = list(REFERENCE.choices[0].logprobs or ())
    logprobs[position] += by
    return changed(logprobs=tuple(logprobs))


def test_the_same_answer_is_equal() -> None:
    seen = held(REFERENCE)
    assert seen.equal
    assert (seen.equal_tokens, seen.logprobs, seen.worst) == (8, 8, 0.0)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_tolerance_is_the_dtypes_unless_the_environment_has_one(dtype: Any) -> None:
    environment = environment_of()
    typed = environment.model_copy(update={"model": environment.model.model_copy(update={"dtype": dtype})})
    assert Tolerance.of(typed).logprob == (1e-4 if dtype == "float32" else 0.05)
    own = typed.model_copy(update={"parity": type(typed.parity)(logprob_tolerance=0.3)})
    assert Tolerance.of(own).logprob == 0.3


# --- divergence ---


@pytest.mark.parametrize("position", range(8))
def test_divergence_has_position_block_and_margin(position: int) -> None:
    divergence = held(MODEL.answer(REQUEST, second=[position])).divergence
    assert divergence is not None
    assert divergence.position == position
    # The choice at position 0 depended on the prompt's last token, in block (6 - 1) // 4.
    assert divergence.block == (len(PROMPT) + position - 1) // BLOCK
    assert divergence.margin == pytest.approx(1.5)
    assert not divergence.at_least
    assert f"token {position} (KV block {divergence.block})" in str(divergence)
    assert "margin 1.5" in str(divergence)


def test_block_of_a_prompt_that_ends_with_a_block() -> None:
    request = Request.tokens(PROMPT[:BLOCK], max_tokens=2)
    ours, theirs = MODEL.answer(request, second=[0]), MODEL.answer(request)
    assert [one.block for one in held(ours, theirs).divergences] == [0]
    ours = MODEL.answer(request, second=[1])
    assert [one.block for one in held(ours, theirs).divergences] == [1]


def test_positions_after_teacher_forcing_count_from_the_start_of_the_answer() -> None:
    generated = REFERENCE.choices[0].token_ids or ()
    forced = replace(REQUEST, prompt=(*PROMPT, *generated[:3]), max_tokens=5)
    divergence = held(MODEL.answer(forced, second=[2]), MODEL.answer(forced), offset=3).divergence
    assert divergence is not None
    assert (divergence.position, divergence.block) == (5, (len(PROMPT) + 5 - 1) // BLOCK)


def test_token_that_is_not_among_the_candidates_gives_a_bound() -> None:
    ours = changed(token_ids=(99, *(REFERENCE.choices[0].token_ids or ())[1:]))
    divergence = held(ours).divergence
    assert divergence is not None
    assert divergence.at_least
    assert divergence.margin == pytest.approx(3.0)
    assert "margin at least 3" in str(divergence)


@pytest.mark.parametrize(
    "changes",
    [
        {"top": None},
        {"top": (tuple(Candidate(token=letter, logprob=-0.3) for letter in "ab"),) * 8},
        {"logprobs": (NAN,) * 8},
        {"top": ((),) * 8},
    ],
    ids=["no candidates", "candidates without ids", "no numbers", "empty"],
)
def test_margin_is_unknown_where_the_reference_does_not_tell(changes: dict[str, Any]) -> None:
    divergence = held(MODEL.answer(REQUEST, second=[0]), changed(**changes)).divergence
    assert divergence is not None
    assert divergence.margin is None
    assert "margin unknown" in str(divergence)
    assert is_open(divergence, STRICT)
    assert not is_tie(divergence, STRICT)


def test_every_choice_that_diverges_is_told() -> None:
    request = replace(REQUEST, n=3)
    theirs, wrong = MODEL.answer(request), MODEL.answer(request, second=[4])
    ours = replace(theirs, choices=(theirs.choices[0], wrong.choices[1], wrong.choices[2]))
    assert [one.choice for one in held(ours, theirs).divergences] == [1, 2]


# --- ties ---

margins = st.floats(-1.0, 1.0)


def diverging(margin: float | None, *, at_least: bool = False) -> Divergence:
    return Divergence(choice=0, position=0, block=0, expected=1, seen=2, margin=margin, at_least=at_least)


@given(margins)
def test_a_tie_is_a_lead_of_at_most_twice_the_tolerance(margin: float) -> None:
    assert is_tie(diverging(margin), Tolerance(logprob=0.25)) is (abs(margin) <= 0.5)


@pytest.mark.parametrize(
    ("margin", "tie"),
    [(0.0, True), (0.5, True), (math.nextafter(0.5, 1), False), (-0.5, True), (-0.6, False), (NAN, False)],
)
def test_bounds_of_a_tie(margin: float, tie: bool) -> None:
    assert is_tie(diverging(margin), Tolerance(logprob=0.25)) is tie


def test_a_bound_within_the_tolerance_is_open_and_one_beyond_it_is_not() -> None:
    tolerance = Tolerance(logprob=0.25)
    assert is_open(diverging(0.4, at_least=True), tolerance)
    assert not is_tie(diverging(0.4, at_least=True), tolerance)
    assert not is_open(diverging(0.6, at_least=True), tolerance)
    assert not is_open(diverging(0.4), tolerance)


# --- log-probabilities ---


@given(st.integers(0, 7), st.floats(2e-4, 5.0), st.sampled_from([1, -1]))
def test_drift_with_equal_tokens_is_found(position: int, size: float, sign: int) -> None:
    seen = held(shifted(position, sign * size))
    assert not seen.equal
    assert seen.drift is not None
    assert (seen.drift.position, seen.drift.block) == (position, (len(PROMPT) + position - 1) // BLOCK)
    assert seen.worst == pytest.approx(size, rel=1e-6)


@given(st.integers(0, 7), st.floats(-9e-5, 9e-5))
def test_drift_within_the_tolerance_is_equal(position: int, size: float) -> None:
    seen = held(shifted(position, size))
    assert seen.equal
    assert seen.worst == pytest.approx(abs(size), abs=1e-9)


def test_drift_before_a_divergence_is_found_too() -> None:
    ours = MODEL.answer(REQUEST, second=[5])
    logprobs = list(ours.choices[0].logprobs or ())
    logprobs[1] -= 0.01
    seen = held(changed(ours, logprobs=tuple(logprobs)))
    assert seen.divergence is not None
    assert seen.drift is not None
    assert seen.drift.position == 1


def test_at_a_divergence_the_other_token_is_held_against_its_candidate() -> None:
    ours = MODEL.answer(REQUEST, second=[7])
    assert held(ours).drift is None
    logprobs = list(ours.choices[0].logprobs or ())
    logprobs[7] -= 0.01
    drift = held(changed(ours, logprobs=tuple(logprobs))).drift
    assert drift is not None
    assert drift.position == 7
    assert drift.size == pytest.approx(0.01)


def test_nan_is_the_greatest_drift_of_all() -> None:
    seen = held(shifted(2, NAN))
    assert seen.drift is not None
    assert seen.worst == math.inf
    assert "off by inf" in str(seen.drift)


def test_where_the_reference_has_no_number_nothing_is_compared() -> None:
    theirs = shifted(2, NAN)
    seen = held(REFERENCE, theirs)
    assert seen.equal
    assert (seen.equal_tokens, seen.logprobs) == (8, 7)


def test_a_reference_without_log_probabilities_compares_tokens_only() -> None:
    seen = held(REFERENCE, changed(logprobs=None, top=None))
    assert seen.equal
    assert (seen.equal_tokens, seen.logprobs) == (8, 0)


def test_an_answer_that_lost_its_log_probabilities_differs() -> None:
    assert held(changed(logprobs=None, top=None)).mismatches == (
        "choice 0: no log-probabilities, the reference has them",
    )


def test_one_log_probability_too_many_differs() -> None:
    # vllm-router 0.1.17 puts prefill's own in front when prompt_logprobs are asked for.
    theirs = changed(logprobs=(-0.3,) * 8)
    seen = held(changed(logprobs=(-0.3,) * 9), theirs)
    assert seen.drift is None
    assert seen.mismatches == ("choice 0: 9 log-probabilities for 8 tokens, the reference has 8 for 8",)
    assert not held(changed(logprobs=(-0.3,) * 7), theirs).equal


# --- shape ---


def test_number_of_choices() -> None:
    two = replace(REFERENCE, choices=(REFERENCE.choices[0], replace(REFERENCE.choices[0], index=1)))
    assert held(REFERENCE, two).mismatches == ("choices 0, the reference has 0, 1",)
    twice = replace(REFERENCE, choices=REFERENCE.choices * 2)
    assert held(twice, two).mismatches == ("choices 0, 0, the reference has 0, 1",)


def test_choices_are_paired_by_index() -> None:
    first, second = MODEL.choice(PROMPT, 4), replace(MODEL.choice((1, 2), 4), index=1)
    assert held(answer_of(second, first), answer_of(first, second)).equal


@pytest.mark.parametrize("length", [0, 1, 7])
def test_an_answer_that_ends_early_differs(length: int) -> None:
    short = MODEL.answer(replace(REQUEST, max_tokens=length))
    assert held(short).mismatches == (
        f"choice 0: {length} tokens (finish reason length), the reference has 8 (length)",
    )


def test_an_answer_that_goes_on_differs() -> None:
    assert not held(MODEL.answer(replace(REQUEST, max_tokens=9))).equal


def test_finish_reason() -> None:
    assert held(changed(finish_reason="stop")).mismatches == (
        "choice 0: finish reason stop, the reference has length",
    )


def test_equal_tokens_with_another_text() -> None:
    (mismatch,) = held(changed(text="other")).mismatches
    assert "text 'other' instead of" in mismatch


def test_the_text_of_a_remainder_is_not_compared() -> None:
    assert held(changed(text="other"), offset=3).equal


def test_without_token_ids_texts_are_compared() -> None:
    plain = changed(token_ids=None)
    assert held(plain, plain).equal
    assert held(plain).equal
    assert held(plain).equal_tokens == 8
    assert not held(changed(token_ids=None, text="other")).equal
    assert not held(changed(text="other"), plain).equal


def test_without_token_ids_log_probabilities_still_count() -> None:
    logprobs = tuple(value - 0.01 for value in REFERENCE.choices[0].logprobs or ())
    assert held(changed(token_ids=None, logprobs=logprobs)).drift is not None
    more = changed(token_ids=None, logprobs=(*(REFERENCE.choices[0].logprobs or ()), -0.3))
    assert not held(more).equal
