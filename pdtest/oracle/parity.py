"""Parity: is an answer the one that the colocated reference gives?

Greedy tokens and the chosen tokens' log-probabilities are compared position by position. Token
equality alone is not enough: a layer whose received KV was scaled by 1 % left 24 tokens of three
prompts unchanged and moved their log-probabilities by 1e-2, where an untouched transfer gives the
very same numbers (vLLM 0.32, float32).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from pdtest.client.answer import Answer, Choice
from pdtest.client.request import Request
from pdtest.environment.schema import Environment

#: Absolute tolerance of log-probabilities by dtype. float32 transfers are exact on one machine; the
#: half precisions differ by batching alone (SGLang's own tests use 0.05).
TOLERANCE = {"float32": 1e-4, "bfloat16": 0.05, "float16": 0.05}


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """What counts as equal: absolute difference of log-probabilities, natural log."""

    logprob: float

    @classmethod
    def of(cls, environment: Environment) -> Tolerance:
        """The environment's own, or the one of its model's dtype."""
        return cls(logprob=environment.parity.logprob_tolerance or TOLERANCE[environment.model.dtype])


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """The first position at which the tokens part ways.

    ``position`` counts generated tokens from 0; ``block`` is the KV block that holds the token
    *before* it, the last one that the choice depended on; ``margin`` is by how much the reference
    preferred its own token over the one that was chosen instead (its second candidate's lead where
    that one is not among the candidates), in nats; None when the reference gave no candidates.
    """

    choice: int
    position: int
    block: int
    expected: int | str
    seen: int | str
    margin: float | None

    def __str__(self) -> str:
        margin = "unknown" if self.margin is None else f"{self.margin:.2g}"
        return (
            f"choice {self.choice}: token {self.position} (KV block {self.block}) is {self.seen}, "
            f"the reference has {self.expected} (margin {margin})"
        )


@dataclass(frozen=True, kw_only=True)
class Drift:
    """A token that is equal, with a log-probability that is not."""

    choice: int
    position: int
    block: int
    expected: float
    seen: float

    @property
    def size(self) -> float:
        """Absolute difference. NaN compares as infinite."""
        difference = abs(self.expected - self.seen)
        return math.inf if math.isnan(difference) else difference

    def __str__(self) -> str:
        return (
            f"choice {self.choice}: token {self.position} (KV block {self.block}) has log-probability "
            f"{self.seen:.6g}, the reference {self.expected:.6g} (off by {self.size:.2g})"
        )


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """An answer held against the reference's.

    ``compared`` counts the tokens looked at. ``drift`` is the first log-probability beyond the
    tolerance, ``worst`` the largest difference seen at all. ``mismatches`` are plain differences of
    shape: number of choices, length, finish reason.
    """

    compared: int
    divergence: Divergence | None = None
    drift: Drift | None = None
    worst: float = 0.0
    mismatches: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        """True when nothing at all differs beyond the tolerance."""
        return self.divergence is None and self.drift is None and not self.mismatches


def compare(
    answer: Answer, reference: Answer, *, tolerance: Tolerance, block_size: int, offset: int = 0
) -> Comparison:
    """Hold ``answer`` against ``reference``, choice by choice.

    ``offset`` is how many generated tokens came before (teacher forcing), so that positions count
    from the start of the whole answer.
    """
    if len(answer.choices) != len(reference.choices):
        seen, expected = len(answer.choices), len(reference.choices)
        return Comparison(compared=0, mismatches=(f"{seen} choices, the reference has {expected}",))
    prompt = reference.usage.prompt_tokens - offset
    parts = [
        _compare_choice(ours, theirs, tolerance, _Place(prompt, offset, block_size))
        for ours, theirs in zip(answer.choices, reference.choices, strict=True)
    ]
    return Comparison(
        compared=sum(part.compared for part in parts),
        divergence=next((part.divergence for part in parts if part.divergence), None),
        drift=next((part.drift for part in parts if part.drift), None),
        worst=max((part.worst for part in parts), default=0.0),
        mismatches=tuple(text for part in parts for text in part.mismatches),
    )


def is_tie(divergence: Divergence, tolerance: Tolerance) -> bool:
    """True when the reference itself could hardly tell the two tokens apart.

    Both log-probabilities may be off by the tolerance, so a lead of up to twice that proves nothing.
    """
    return divergence.margin is not None and divergence.margin <= 2 * tolerance.logprob


def teacher_forced(request: Request, reference: Answer, answer: Answer, position: int) -> Request | None:
    """The request that asks the reference to go on from ``answer``'s own tokens after a tie.

    None where nothing is left to compare, or the prompt's token ids are unknown.
    """
    prompt, generated = reference.prompt_token_ids, answer.choices[0].token_ids
    if prompt is None or generated is None or len(answer.choices) != 1:
        return None
    rest = len(generated) - position - 1
    if rest <= 0:
        return None
    forced = (*prompt, *generated[: position + 1])
    return replace(request, prompt=forced, is_chat=False, stream=False, max_tokens=rest, min_tokens=0)


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


@dataclass(frozen=True)
class _Place:
    """Where a generated token lies: behind ``prompt`` tokens and ``offset`` generated ones."""

    prompt: int
    offset: int
    block_size: int

    def position(self, index: int) -> int:
        return index + self.offset

    def block(self, index: int) -> int:
        return (self.prompt + self.position(index) - 1) // self.block_size


def _compare_choice(ours: Choice, theirs: Choice, tolerance: Tolerance, place: _Place) -> Comparison:
    seen, expected = _tokens(ours), _tokens(theirs)
    common = next((i for i, pair in enumerate(zip(seen, expected, strict=False)) if pair[0] != pair[1]), None)
    length = min(len(seen), len(expected)) if common is None else common
    drifts = list(_drifts(ours, theirs, length, place))
    divergence = None if common is None else _divergence(ours, theirs, common, place)
    return Comparison(
        compared=length + (divergence is not None),
        divergence=divergence,
        drift=next((drift for drift in drifts if drift.size > tolerance.logprob), None),
        worst=max((drift.size for drift in drifts), default=0.0),
        mismatches=() if divergence else tuple(_mismatches(ours, theirs)),
    )


def _mismatches(ours: Choice, theirs: Choice) -> Iterator[str]:
    """Differences that remain when one answer's tokens start with the other's."""
    if len(_tokens(ours)) != len(_tokens(theirs)):
        yield (
            f"choice {ours.index}: {len(_tokens(ours))} tokens (finish reason {ours.finish_reason}), the "
            f"reference has {len(_tokens(theirs))} ({theirs.finish_reason})"
        )
    elif ours.finish_reason != theirs.finish_reason:
        yield (
            f"choice {ours.index}: finish reason {ours.finish_reason}, the reference has "
            f"{theirs.finish_reason}"
        )
    elif ours.token_ids is not None and theirs.token_ids is not None and ours.text != theirs.text:
        yield f"choice {ours.index}: equal tokens, but text {ours.text!r} instead of {theirs.text!r}"


def _tokens(choice: Choice) -> tuple[int | str, ...]:
    """Token ids; characters of the text where a server gives no ids."""
    return tuple(choice.text) if choice.token_ids is None else choice.token_ids


def _drifts(ours: Choice, theirs: Choice, length: int, place: _Place) -> Iterator[Drift]:
    if ours.logprobs is None or theirs.logprobs is None:
        return
    pairs = zip(ours.logprobs[:length], theirs.logprobs[:length], strict=False)
    for index, (seen, expected) in enumerate(pairs):
        yield Drift(
            choice=ours.index,
            position=place.position(index),
            block=place.block(index),
            expected=expected,
            seen=seen,
        )


def _divergence(ours: Choice, theirs: Choice, index: int, place: _Place) -> Divergence:
    return Divergence(
        choice=ours.index,
        position=place.position(index),
        block=place.block(index),
        expected=_tokens(theirs)[index],
        seen=_tokens(ours)[index],
        margin=_margin(theirs, index, _tokens(ours)[index]),
    )


def _margin(reference: Choice, index: int, instead: int | str) -> float | None:
    """The reference's lead of its own token over the one chosen instead."""
    if reference.top is None or reference.logprobs is None or index >= len(reference.top):
        return None
    chosen = reference.logprobs[index]
    for candidate in reference.top[index]:
        if candidate.token_id == instead:
            return chosen - candidate.logprob
    # The other token is not even among the candidates, so its lead is at least the last one's.
    candidates = [candidate.logprob for candidate in reference.top[index]]
    return chosen - min(candidates) if len(candidates) > 1 else None
