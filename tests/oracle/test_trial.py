from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from pdtest.client.answer import Answer
from pdtest.client.request import Request
from pdtest.oracle.errors import ReferenceMissing
from pdtest.oracle.parity import Tolerance
from pdtest.oracle.trial import Trial
from pdtest.oracle.verdict import Finding, Ruling

from .fakes import BLOCK, NAN, PROMPT, FakeReference, Model, failed, handoff_of

REQUEST = Request.tokens(PROMPT, max_tokens=8)


def tied(*positions: int, **settings: Any) -> Model:
    """A model that can hardly choose at these positions of its answer to `PROMPT`."""
    return Model(ties=frozenset(len(PROMPT) + position for position in positions), **settings)


async def held(
    answer: Answer, reference: FakeReference, request: Request = REQUEST, tolerance: float = 1e-4
) -> list[Finding]:
    trial = Trial(reference, Tolerance(logprob=tolerance), BLOCK)
    await trial.hold(handoff_of(request, answer))
    return trial.findings


async def ruled(model: Model, second: Iterable[int], **settings: Any) -> list[tuple[str, Ruling]]:
    findings = await held(model.answer(REQUEST, second=second), FakeReference(model), **settings)
    return [(finding.check, finding.ruling) for finding in findings]


TIE, EQUAL = ("tie", Ruling.PASS), ("parity", Ruling.PASS)


async def test_an_equal_answer_passes_and_says_how_equal() -> None:
    model = Model()
    (finding,) = await held(model.answer(REQUEST), FakeReference(model))
    assert (finding.ruling, finding.text) == (
        Ruling.PASS,
        "8 tokens equal, log-probabilities within 0 of 0.0001",
    )
    assert not finding.proof  # of a transfer, equal output is none


@pytest.mark.parametrize("position", [0, 3, 6])
async def test_after_a_tie_the_reference_goes_on_from_the_other_token(position: int) -> None:
    model = tied(position)
    reference = FakeReference(model)
    tie, parity = await held(model.answer(REQUEST, second=[position]), reference)
    assert (tie.check, parity.ruling) == ("tie", Ruling.PASS)
    assert f"token {position} " in tie.text
    assert parity.text.startswith("7 tokens equal but for 1 numeric ties, log-probabilities within")
    _, forced = reference.asked
    ours = model.answer(REQUEST, second=[position]).token_ids or ()
    assert forced.prompt == (*PROMPT, *ours[: position + 1])
    assert forced.max_tokens == 8 - position - 1


async def test_a_tie_at_the_last_token_leaves_nothing_to_compare() -> None:
    model = tied(7)
    reference = FakeReference(model)
    tie, parity = await held(model.answer(REQUEST, second=[7]), reference)
    assert (tie.ruling, parity.ruling) == (Ruling.PASS, Ruling.PASS)
    assert len(reference.asked) == 1


async def test_several_ties() -> None:
    model = tied(0, 3, 7)
    assert await ruled(model, [0, 3, 7]) == [TIE, TIE, TIE, EQUAL]


async def test_corruption_after_a_tie_is_found_where_it_is() -> None:
    model = tied(2)
    *_, parity = await held(model.answer(REQUEST, second=[2, 5]), FakeReference(model))
    assert parity.ruling is Ruling.FAIL
    assert parity.text.startswith(
        f"corruption: choice 0: token 5 (KV block {(len(PROMPT) + 4) // BLOCK}) is "
    )
    assert "margin 1.5" in parity.text


async def test_drift_after_a_tie_is_found() -> None:
    model = tied(2)
    wrong = replace(model, off={len(PROMPT) + 6: -0.01})
    *_, parity = await held(wrong.answer(REQUEST, second=[2]), FakeReference(model))
    assert parity.ruling is Ruling.FAIL
    assert "token 6 (KV block 2) has log-probability" in parity.text


async def test_drift_of_the_tied_token_itself_is_found() -> None:
    model = tied(7)
    wrong = replace(model, off={len(PROMPT) + 7: -0.01})
    *_, parity = await held(wrong.answer(REQUEST, second=[7]), FakeReference(model))
    assert parity.ruling is Ruling.FAIL


async def test_a_tie_beyond_the_tolerance_is_corruption() -> None:
    model = tied(2, gap=3e-4)
    assert await ruled(model, [2]) == [("parity", Ruling.FAIL)]
    assert await ruled(model, [2], tolerance=2e-4) == [TIE, EQUAL]


async def test_eight_ties_prove_nothing() -> None:
    model = tied(*range(9))
    request = replace(REQUEST, max_tokens=12)
    answer = model.answer(request, second=range(8))
    *ties, parity = await held(answer, FakeReference(model), request)
    assert len(ties) == 8
    assert parity.ruling is Ruling.INCONCLUSIVE
    assert parity.text.startswith("8 numeric ties")


async def test_an_answer_cut_off_after_a_tie_fails() -> None:
    model = tied(2)
    short = model.answer(replace(REQUEST, max_tokens=5), second=[2])
    *_, parity = await held(short, FakeReference(model))
    assert parity.ruling is Ruling.FAIL
    assert parity.text == "choice 0: 2 tokens (finish reason length), the reference has 5 (length)"


async def test_an_answer_cut_off_at_a_tie_fails() -> None:
    model = tied(2)
    short = model.answer(replace(REQUEST, max_tokens=3), second=[2])
    *_, parity = await held(short, FakeReference(model))
    assert parity.ruling is Ruling.FAIL
    assert "3 tokens" in parity.text


async def test_what_is_left_of_the_minimum_is_asked_of_the_reference() -> None:
    model, reference = tied(2), FakeReference(tied(2))
    request = replace(REQUEST, min_tokens=5, extra={"max_tokens": 8, "logit_bias": {"1": 3}})
    await held(model.answer(request, second=[2]), reference, request)
    forced = reference.asked[-1]
    assert (forced.min_tokens, forced.max_tokens, forced.extra) == (2, 5, {"logit_bias": {"1": 3}})


async def test_a_chat_is_followed_as_a_completion() -> None:
    model, reference = tied(2), FakeReference(tied(2))
    request = Request.chat("hello", max_tokens=8, stream=True, extra={"max_completion_tokens": 8})
    answer = model.answer(replace(REQUEST), second=[2])
    *_, parity = await held(answer, reference, request)
    assert parity.ruling is Ruling.PASS
    forced = reference.asked[-1]
    assert (forced.is_chat, forced.stream, forced.max_tokens, forced.extra) == (False, False, 5, {})


# --- the reference is asked again for what its candidates do not tell ---


async def test_without_candidates_the_margin_is_asked_for() -> None:
    request = replace(REQUEST, logprobs=None)
    for model, ruling in ((Model(), Ruling.FAIL), (tied(2), Ruling.PASS)):
        reference = FakeReference(model)
        *_, parity = await held(model.answer(request, second=[2]), reference, request)
        assert parity.ruling is ruling
        asked = reference.asked[1]
        assert (asked.prompt, asked.max_tokens, asked.n) == (
            (*PROMPT, *(model.answer(request).token_ids or ())[:2]),
            1,
            1,
        )
        assert asked.logprobs is not None


async def test_a_token_beyond_the_candidates_is_weighed_again() -> None:
    # The first candidates are nearly equal, so a token behind them may be as well.
    few = tied(2)
    wrong = few.answer(REQUEST, second=[2])
    tokens = list(wrong.token_ids or ())
    tokens[2] = few.think((*PROMPT, *tokens[:2]))[2].token_id or 0
    wrong = replace(wrong, choices=(replace(wrong.choices[0], token_ids=tuple(tokens)),))

    class Terse(FakeReference):
        """Two candidates at first, all when asked for more."""

        async def answer(self, request: Request) -> Answer:
            answer = await super().answer(request)
            (choice,) = answer.choices
            top = tuple(at[: request.logprobs] for at in choice.top or ())
            return replace(answer, choices=(replace(choice, top=top),))

    reference = Terse(few)
    (parity,) = await held(wrong, reference)
    assert parity.ruling is Ruling.FAIL
    assert "(margin 3)" in parity.text
    assert len(reference.asked) == 2


async def test_when_nothing_tells_a_tie_from_corruption_it_stays_open() -> None:
    request = replace(REQUEST, logprobs=None)
    model = Model()
    reference = FakeReference(
        model, fails=lambda asked: None if asked == request else ReferenceMissing("not recorded")
    )
    (parity,) = await held(model.answer(request, second=[2]), reference, request)
    assert parity.ruling is Ruling.INCONCLUSIVE
    assert "token 2 " in parity.text
    assert "do not tell a numeric tie from corruption" in parity.text


async def test_a_reference_that_chooses_otherwise_the_second_time_weighs_nothing() -> None:
    request = replace(REQUEST, logprobs=None)
    model, other = Model(), Model(candidates=5)

    class Fickle(FakeReference):
        async def answer(self, asked: Request) -> Answer:
            answer = await super().answer(asked)
            return answer if asked == request else other.answer(replace(asked, prompt=(1,)))

    (parity,) = await held(model.answer(request, second=[2]), Fickle(model), request)
    assert parity.ruling is Ruling.INCONCLUSIVE


# --- what cannot be held against anything ---


async def test_a_comparison_of_tokens_only_says_so() -> None:
    request = replace(REQUEST, logprobs=None)
    model = Model()
    (parity,) = await held(model.answer(request), FakeReference(model), request)
    assert parity.ruling is Ruling.PASS
    assert parity.text == ("8 tokens equal; without log-probabilities, so small corruption would go unseen")


async def test_a_comparison_of_some_log_probabilities_says_of_how_many() -> None:
    model = Model(off={len(PROMPT) + 2: NAN})
    (parity,) = await held(model.answer(REQUEST), FakeReference(model))
    assert parity.text == "8 tokens equal, log-probabilities of 7 of them within 0 of 0.0001"


async def test_tokens_drawn_without_a_seed_are_not_compared() -> None:
    request = replace(REQUEST, temperature=0.8)
    reference = FakeReference()
    (parity,) = await held(Model().answer(request), reference, request)
    assert parity.ruling is Ruling.INCONCLUSIVE
    assert "without a seed" in parity.text
    assert not reference.asked


@pytest.mark.parametrize("settings", [{"seed": 7}, {"extra": {"seed": 7}}])
async def test_tokens_drawn_with_a_seed_are_compared_but_not_forced(settings: Any) -> None:
    request = replace(REQUEST, temperature=0.8, **settings)
    model = tied(2)
    assert (await held(model.answer(request), FakeReference(model), request))[-1].ruling is Ruling.PASS
    reference = FakeReference(model)
    *_, parity = await held(model.answer(request, second=[2]), reference, request)
    assert parity.ruling is Ruling.INCONCLUSIVE
    assert len(reference.asked) == 1


async def test_tokens_drawn_do_not_end_in_a_tie() -> None:
    request = replace(REQUEST, temperature=0.8, seed=7)
    model = tied(7)
    *_, parity = await held(model.answer(request, second=[7]), FakeReference(model), request)
    assert parity.ruling is Ruling.INCONCLUSIVE


async def test_a_tie_in_one_choice_does_not_hide_corruption_in_another() -> None:
    request = replace(REQUEST, n=2, temperature=0.8, seed=1)
    model = tied(2)
    right, tie, wrong = (model.answer(request, second=second).choices for second in ([], [2], [5]))
    answer = model.answer(request)
    (parity,) = await held(replace(answer, choices=(tie[0], wrong[1])), FakeReference(model), request)
    assert parity.ruling is Ruling.FAIL
    assert "corruption: choice 1: token 5" in parity.text
    *_, parity = await held(replace(answer, choices=(tie[0], right[1])), FakeReference(model), request)
    assert parity.ruling is Ruling.INCONCLUSIVE


async def test_no_reference_leaves_the_question_open() -> None:
    reference = FakeReference(fails=lambda _: ReferenceMissing("none was recorded"))
    (parity,) = await held(Model().answer(REQUEST), reference)
    assert parity.ruling is Ruling.INCONCLUSIVE
    assert "no reference for mine" in parity.text
    assert "none was recorded" in parity.text


async def test_a_reference_that_fails_in_the_middle_keeps_the_ties_seen_before() -> None:
    model = tied(2)
    reference = FakeReference(model, fails=lambda asked: None if asked == REQUEST else failed())
    tie, parity = await held(model.answer(REQUEST, second=[2]), reference)
    assert tie.check == "tie"
    assert parity.ruling is Ruling.INCONCLUSIVE
    assert "KV load failed" in parity.text
