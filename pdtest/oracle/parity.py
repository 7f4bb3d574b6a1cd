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
    preferred its own token over the one that was chosen instead, in nats; None when the reference
    gave no candidates. Where that other token is not among them, ``at_least`` is True and the margin
    is the lead over the last candidate: a bound.
    """

    choice: int
    position: int
    block: int
    expected: int
    seen: int
    margin: float | None
    at_least: bool = False

    def __str__(self) -> str:
        bound = "at least " if self.at_least else ""
        margin = "unknown" if self.margin is None else f"{bound}{self.margin:.2g}"
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

    ``equal_tokens`` and ``logprobs`` count what was found equal and what could be compared at all.
    ``divergences`` has the first one of each choice. ``drift`` is the first log-probability beyond
    the tolerance, ``worst`` the largest difference seen at all. ``mismatches`` are plain differences
    of shape: number of choices, length, finish reason, log-probabilities that are missing.
    """

    equal_tokens: int = 0
    logprobs: int = 0
    divergences: tuple[Divergence, ...] = ()
    drift: Drift | None = None
    worst: float = 0.0
    mismatches: tuple[str, ...] = ()

    @property
    def divergence(self) -> Divergence | None:
        """The divergence of the first choice that has one."""
        return next(iter(self.divergences), None)

    @property
    def equal(self) -> bool:
        """True when nothing at all differs beyond the tolerance. Says nothing about ``logprobs``."""
        return not self.divergences and self.drift is None and not self.mismatches


def compare(
    answer: Answer, reference: Answer, *, tolerance: Tolerance, block_size: int, offset: int = 0
) -> Comparison:
    """Hold ``answer`` against ``reference``, choice by choice.

    ``offset`` is how many generated tokens came before (teacher forcing), so that positions count
    from the start of the whole answer.
    """
    ours, theirs = _by_index(answer), _by_index(reference)
    if len(ours) != len(answer.choices) or ours.keys() != theirs.keys():
        seen, expected = _indices(answer), _indices(reference)
        return Comparison(mismatches=(f"choices {seen}, the reference has {expected}",))
    place = _Place(reference.usage.prompt_tokens - offset, offset, block_size)
    parts = [_compare_choice(ours[index], theirs[index], tolerance, place) for index in sorted(ours)]
    return Comparison(
        equal_tokens=sum(part.equal_tokens for part in parts),
        logprobs=sum(part.logprobs for part in parts),
        divergences=tuple(divergence for part in parts for divergence in part.divergences),
        drift=next((part.drift for part in parts if part.drift), None),
        worst=max((part.worst for part in parts), default=0.0),
        mismatches=tuple(text for part in parts for text in part.mismatches),
    )


def _by_index(answer: Answer) -> dict[int, Choice]:
    return {choice.index: choice for choice in answer.choices}


def _indices(answer: Answer) -> str:
    return ", ".join(str(choice.index) for choice in answer.choices)


def is_tie(divergence: Divergence, tolerance: Tolerance) -> bool:
    """True when the reference itself could hardly tell the two tokens apart.

    Both log-probabilities may be off by the tolerance, so a lead of up to twice that proves nothing.
    A large *negative* lead is no tie: the reference had a reason to choose the less likely token (a
    logit bias, min_tokens), which holds for the other side as well.
    """
    margin = divergence.margin
    return margin is not None and not divergence.at_least and abs(margin) <= 2 * tolerance.logprob


def is_open(divergence: Divergence, tolerance: Tolerance) -> bool:
    """True when the candidates do not tell a tie from corruption."""
    margin = divergence.margin
    return margin is None or (divergence.at_least and abs(margin) <= 2 * tolerance.logprob)


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
    if ours.token_ids is None or theirs.token_ids is None:
        return _compare_texts(ours, theirs, tolerance, place)
    pairs = enumerate(zip(ours.token_ids, theirs.token_ids, strict=False))
    parting = next((index for index, (seen, expected) in pairs if seen != expected), None)
    equal = min(len(ours.token_ids), len(theirs.token_ids)) if parting is None else parting
    drifts = list(_drifts(ours, theirs, equal, place))
    if parting is None:
        return replace(
            _drifted(drifts, tolerance),
            equal_tokens=equal,
            mismatches=(*_odd_logprobs(ours, theirs), *_mismatches(ours, theirs, place)),
        )
    return replace(
        _drifted([*drifts, *_drift_at(ours, theirs, parting, place)], tolerance),
        equal_tokens=equal,
        divergences=(_divergence(ours, theirs, parting, place),),
        mismatches=tuple(_odd_logprobs(ours, theirs)),
    )


def _compare_texts(ours: Choice, theirs: Choice, tolerance: Tolerance, place: _Place) -> Comparison:
    """Where a side gives no token ids: nothing tells a tie apart, so any other text is a mismatch."""
    mismatches = (*_odd_logprobs(ours, theirs), *_mismatches(ours, theirs, place))
    if ours.text != theirs.text:
        return Comparison(mismatches=mismatches)
    tokens = len(ours.token_ids or theirs.token_ids or theirs.logprobs or ())
    drifts = list(_drifts(ours, theirs, len(theirs.logprobs or ()), place))
    return replace(_drifted(drifts, tolerance), equal_tokens=tokens, mismatches=mismatches)


def _drifted(drifts: list[Drift], tolerance: Tolerance) -> Comparison:
    return Comparison(
        logprobs=len(drifts),
        drift=next((drift for drift in drifts if drift.size > tolerance.logprob), None),
        worst=max((drift.size for drift in drifts), default=0.0),
    )


def _mismatches(ours: Choice, theirs: Choice, place: _Place) -> Iterator[str]:
    """Differences that remain when one answer's tokens start with the other's."""
    seen, expected = _length(ours), _length(theirs)
    if None not in {seen, expected} and seen != expected:
        yield (
            f"choice {ours.index}: {seen} tokens (finish reason {ours.finish_reason}), the reference "
            f"has {expected} ({theirs.finish_reason})"
        )
        return
    if ours.finish_reason != theirs.finish_reason:
        yield (
            f"choice {ours.index}: finish reason {ours.finish_reason}, the reference has "
            f"{theirs.finish_reason}"
        )
    # The text of a remainder is still that of the whole answer.
    if ours.text != theirs.text and not place.offset:
        yield f"choice {ours.index}: text {ours.text!r} instead of {theirs.text!r}"


def _odd_logprobs(ours: Choice, theirs: Choice) -> Iterator[str]:
    """Fewer or more than the reference gives. If it gives none there is nothing to hold against."""
    if theirs.logprobs is None:
        return
    if ours.logprobs is None:
        yield f"choice {ours.index}: no log-probabilities, the reference has them"
    # By tokens, because an answer may rightly be longer than the reference after a tie.
    elif _surplus(ours, theirs) != _surplus(theirs, ours):
        yield (
            f"choice {ours.index}: {len(ours.logprobs)} log-probabilities for {_length(ours)} tokens, the "
            f"reference has {len(theirs.logprobs)} for {_length(theirs)}"
        )


def _surplus(choice: Choice, other: Choice) -> int:
    """Log-probabilities beyond one per token; as many tokens as the other has, if it gives no ids."""
    tokens = _length(choice) if choice.token_ids is not None else _length(other)
    return len(choice.logprobs or ()) - (tokens or 0)


def _length(choice: Choice) -> int | None:
    return None if choice.token_ids is None else len(choice.token_ids)


def _drifts(ours: Choice, theirs: Choice, length: int, place: _Place) -> Iterator[Drift]:
    """Only where the reference has a number: without one there is nothing to drift from."""
    if ours.logprobs is None or theirs.logprobs is None:
        return
    pairs = zip(ours.logprobs[:length], theirs.logprobs[:length], strict=False)
    for index, (seen, expected) in enumerate(pairs):
        if not math.isnan(expected):
            yield _drift(ours, index, expected, seen, place)


def _drift_at(ours: Choice, theirs: Choice, index: int, place: _Place) -> Iterator[Drift]:
    """At a divergence the reference's candidates may tell what it thought of the other token."""
    if ours.logprobs is None or ours.token_ids is None or index >= len(ours.logprobs):
        return
    for candidate in theirs.top[index] if theirs.top is not None and index < len(theirs.top) else ():
        if candidate.token_id == ours.token_ids[index] and not math.isnan(candidate.logprob):
            yield _drift(ours, index, candidate.logprob, ours.logprobs[index], place)


def _drift(ours: Choice, index: int, expected: float, seen: float, place: _Place) -> Drift:
    return Drift(
        choice=ours.index,
        position=place.position(index),
        block=place.block(index),
        expected=expected,
        seen=seen,
    )


def _divergence(ours: Choice, theirs: Choice, index: int, place: _Place) -> Divergence:
    # Both have ids where they can part ways; see _compare_choice.
    seen, expected = (ours.token_ids or ())[index], (theirs.token_ids or ())[index]
    margin, at_least = margin_of(theirs, index, seen)
    return Divergence(
        choice=ours.index,
        position=place.position(index),
        block=place.block(index),
        expected=expected,
        seen=seen,
        margin=margin,
        at_least=at_least,
    )


def margin_of(reference: Choice, index: int, instead: int) -> tuple[float | None, bool]:
    """The reference's lead of its own token over ``instead``, and whether it is only a lower bound."""
    if reference.top is None or reference.logprobs is None or index >= len(reference.top):
        return None, False
    candidates = {candidate.token_id: candidate.logprob for candidate in reference.top[index]}
    if None in candidates or not candidates:  # told apart by their text only
        return None, False
    known = instead in candidates
    margin = reference.logprobs[index] - (candidates[instead] if known else min(candidates.values()))
    return (None, False) if math.isnan(margin) else (margin, not known)
