"""Teacher forcing: questions to the reference that start from tokens which are already decided.

After a numeric tie both sides are right and go different ways. So the reference is asked to go on
from what the other side chose, and the comparison with it.
"""

from __future__ import annotations

from dataclasses import replace

from pdtest.client.answer import Answer
from pdtest.client.request import Request
from pdtest.oracle.parity import Divergence, margin_of

#: As many as vLLM gives by default (0.32, --max-logprobs).
_CANDIDATES = 20
_BUDGETS = frozenset({"max_tokens", "max_completion_tokens", "min_tokens"})


def is_drawn(request: Request) -> bool:
    """True when tokens are drawn at random, with or without a seed."""
    return bool(request.body("").get("temperature") != 0)


def is_repeatable(request: Request) -> bool:
    """True when two answers must be equal: greedy, or drawn with a seed."""
    return not is_drawn(request) or request.body("").get("seed") is not None


def teacher_forced(request: Request, reference: Answer, answer: Answer, position: int) -> Request | None:
    """The request that asks the reference to go on from ``answer``'s own tokens after a tie.

    ``position`` counts from the start of ``answer``. None where nothing is left to compare, or it
    cannot be asked: the prompt's token ids are unknown, or the tokens are drawn at random, and a
    longer prompt draws others.
    """
    prompt, generated = reference.prompt_token_ids, answer.choices[0].token_ids
    if prompt is None or generated is None or len(answer.choices) != 1 or is_drawn(request):
        return None
    spent = position + 1
    return _after(request, (*prompt, *generated[:spent]), spent) if spent < len(generated) else None


def remainder(answer: Answer, position: int) -> Answer:
    """``answer`` from the token after ``position`` on, to hold against a teacher-forced reference."""
    choice = answer.choices[0]
    start = position + 1
    return replace(
        answer,
        choices=(
            replace(
                choice,
                token_ids=None if choice.token_ids is None else choice.token_ids[start:],
                logprobs=None if choice.logprobs is None else choice.logprobs[start:],
                top=None if choice.top is None else choice.top[start:],
            ),
        ),
    )


def weighing(request: Request, reference: Answer, divergence: Divergence, position: int) -> Request | None:
    """The request that asks the reference for its token at ``divergence`` again, with many candidates.

    ``position`` counts from the start of ``reference``. None where that cannot be asked exactly.
    """
    choice = next(choice for choice in reference.choices if choice.index == divergence.choice)
    if reference.prompt_token_ids is None or choice.token_ids is None or is_drawn(request):
        return None
    forced = _after(request, (*reference.prompt_token_ids, *choice.token_ids[:position]), position)
    return forced and replace(forced, n=1, max_tokens=1, min_tokens=0, logprobs=_CANDIDATES)


def reweighed(divergence: Divergence, again: Answer) -> Divergence:
    """``divergence`` with the margin that the answer to `weighing` shows.

    Unchanged when the reference chose another token this time.
    """
    choice = again.choices[0]
    if not choice.token_ids or choice.token_ids[0] != divergence.expected:
        return divergence
    margin, at_least = margin_of(choice, 0, divergence.seen)
    return replace(divergence, margin=margin, at_least=at_least)


def _after(request: Request, prompt: tuple[int, ...], spent: int) -> Request | None:
    """``request`` when ``spent`` of its tokens are there: what is left of its budget and its minimum."""
    body = request.body("")
    budget = body.get("max_completion_tokens", body["max_tokens"]) - spent
    if budget < 1:
        return None
    return replace(
        request,
        prompt=prompt,
        is_chat=False,
        stream=False,
        max_tokens=budget,
        min_tokens=max(0, body.get("min_tokens", 0) - spent),
        extra={name: value for name, value in request.extra.items() if name not in _BUDGETS},
    )
