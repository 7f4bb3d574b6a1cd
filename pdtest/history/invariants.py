"""What must hold of every history, whatever was broken meanwhile.

An invariant is a function of a history and yields a violation for each time that it does not hold. They look
at events only, so each is tested on made-up histories. To add one: a function here, its name in `INVARIANTS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pdtest.events.handoff import RequestAnswered, RequestSent
from pdtest.events.member import MemberRestarted
from pdtest.history.history import Attempt, History
from pdtest.history.violation import Violation

Invariant = Callable[[History], Iterator[Violation]]

_COLOCATED = "colocated"
#: Shorter answers may be equal by chance.
_TELLING_TOKENS = 4


def one_ending(history: History) -> Iterator[Violation]:
    """Each request is sent once, ends once, and nothing is heard of it afterwards."""
    for attempt in history.attempts:
        kinds = [event.kind for event in attempt.events]
        first, *rest = attempt.events
        if not isinstance(first, RequestSent):
            yield _of(attempt, "one ending", f"{attempt} ended before it was sent: {', '.join(kinds)}")
        elif any(isinstance(event, RequestSent) for event in rest):
            yield _of(attempt, "one ending", f"{attempt} was sent more than once under one id")
        elif not rest:
            yield _of(attempt, "one ending", f"{attempt} never ended")
        elif len(rest) > 1:
            yield _of(attempt, "one ending", f"{attempt} ended {len(rest)} times: {', '.join(kinds[1:])}")


def consumed_once(history: History) -> Iterator[Violation]:
    """What prefill holds for one request is fetched by one request."""
    consumers: dict[tuple[Any, ...], list[Attempt]] = {}
    for attempt in history.attempts:
        held = _held(attempt.params)
        if held is not None and attempt.request_id not in history.falsified:
            consumers.setdefault(held, []).append(attempt)
    for held, attempts in consumers.items():
        if len(attempts) > 1:
            who = ", ".join(map(str, attempts))
            yield Violation(
                invariant="consumed once",
                text=f"what prefill holds as {held[-1]} was asked for {len(attempts)} times: {who}",
                events=tuple(event for attempt in attempts for event in attempt.events),
            )


def own_answer(history: History) -> Iterator[Violation]:
    """No request gets what another one asked for: an answer that is wrong, and right for somebody else."""
    right = _colocated_answers(history)
    whose = {attempt.answer.answer_digest: attempt for attempt in right.values() if attempt.answer}
    for attempt in history.attempts:
        sent, answer = attempt.sent, attempt.answer
        if sent is None or answer is None or answer.answer_digest is None or sent.digest not in right:
            continue
        own, other = right[sent.digest], whose.get(answer.answer_digest)
        if answer.answer_digest != _said(own) and other is not None:
            yield Violation(
                invariant="own answer",
                text=f"{attempt} got the answer to another prompt, the one of {other}",
                events=(*history.starts_of(own.member), *own.events, *other.events, *attempt.events),
            )


def usage_adds_up(history: History) -> Iterator[Violation]:
    """What a server says it counted can be what was asked."""
    for attempt in history.attempts:
        if attempt.sent is not None and attempt.answer is not None:
            for text in _miscounted(attempt.sent, attempt.answer):
                yield _of(attempt, "usage adds up", f"{attempt}: {text}")


def back_to_quiet(history: History) -> Iterator[Violation]:
    """Every member that was watched came to rest: each prefill's blocks were consumed or released."""
    for look in history.last_looks.values():
        if look.quiet:
            continue
        left = _unfetched(history, look.member)
        blame = f"; nobody came for what it holds for {', '.join(map(str, left))}" if left else ""
        yield Violation(
            invariant="back to quiet",
            text=f"{look.member} was not idle after {look.within_s:g} s: {look.left}{blame}",
            events=(*(event for attempt in left for event in attempt.events), look),
        )


INVARIANTS: Mapping[str, Invariant] = {
    "one ending": one_ending,
    "consumed once": consumed_once,
    "own answer": own_answer,
    "usage adds up": usage_adds_up,
    "back to quiet": back_to_quiet,
}


def check(history: History) -> tuple[Violation, ...]:
    """Everything in ``history`` that must not be."""
    return tuple(violation for invariant in INVARIANTS.values() for violation in invariant(history))


def _of(attempt: Attempt, invariant: str, text: str) -> Violation:
    return Violation(invariant=invariant, text=text, events=attempt.events)


def _held(params: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """What names the blocks that a decode request asks for; None where it asks for none, or nothing does."""
    if not params.get("do_remote_prefill"):
        return None
    name = params.get("remote_request_id") or params.get("transfer_id")
    return None if name is None else (params.get("remote_engine_id"), name)


def _colocated_answers(history: History) -> Mapping[str, Attempt]:
    """By what was asked, whoever was asked it: the reference's attempts that are long enough to tell."""
    return {
        attempt.sent.digest: attempt
        for attempt in history.attempts
        if history.roles.get(attempt.member) == _COLOCATED
        and attempt.sent
        and attempt.answer
        and attempt.answer.completion_tokens >= _TELLING_TOKENS
    }


def _said(attempt: Attempt) -> str | None:
    return attempt.answer.answer_digest if attempt.answer else None


def _miscounted(sent: RequestSent, answer: RequestAnswered) -> Iterator[str]:
    if sent.prompt_tokens is not None and answer.prompt_tokens != sent.prompt_tokens:
        yield f"{sent.prompt_tokens} prompt tokens were sent, {answer.prompt_tokens} counted"
    if answer.completion_tokens > sent.max_tokens * sent.n:
        yield f"{answer.completion_tokens} tokens came, {sent.n} times {sent.max_tokens} were allowed"
    if answer.cached_tokens is not None and answer.cached_tokens > answer.prompt_tokens:
        yield f"{answer.cached_tokens} of {answer.prompt_tokens} prompt tokens are said to be cached"
    if len(answer.finish_reasons) != sent.n:
        yield f"{sent.n} answers were asked for, {len(answer.finish_reasons)} came"
    if set(answer.finish_reasons) == {"length"} and answer.completion_tokens < sent.max_tokens * sent.n:
        yield (
            f"it ended for its length after {answer.completion_tokens} tokens of {sent.n} times"
            f" {sent.max_tokens}"
        )


def _unfetched(history: History, member: str) -> list[Attempt]:
    """The requests that a member holds blocks for, as it said, and that no decode request has named."""
    fetched = {held for attempt in history.attempts if (held := _held(attempt.params)) is not None}
    left: list[Attempt] = []
    for event in history.events:
        if isinstance(event, MemberRestarted) and event.member == member:
            left = []  # what it held went with it
        elif isinstance(event, RequestAnswered) and event.member == member:
            held = _held(event.params or {})
            if held is not None and held not in fetched:
                left += [a for a in history.attempts if event in a.events]
    return left
