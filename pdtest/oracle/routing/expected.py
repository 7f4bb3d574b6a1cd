"""The ways that a request may take, by its lengths: what `ByPhase` of the environment says, once more.

On purpose a second implementation, of nothing but the words of that class: a router is held against it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Self

from pdtest.client.request import Request
from pdtest.environment.routing import ByPhase
from pdtest.routing.served import Path

#: Tokens of a text: not fewer than one for so many characters, and not more than one each. Routers estimate.
_MOST_CHARACTERS_PER_TOKEN = 5
#: Of a chat: what its template may add, tokens.
_TEMPLATE = 32


@dataclass(frozen=True, kw_only=True)
class Span:
    """Tokens, from ``least`` to ``most``: what a router may take a length for."""

    least: int
    most: int

    @classmethod
    def exactly(cls, tokens: int) -> Self:
        """No doubt about it."""
        return cls(least=tokens, most=tokens)

    def __str__(self) -> str:
        return str(self.least) if self.least == self.most else f"{self.least} to {self.most}"


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """Of a request's prompt, and of the answer that it asks for. Tokens."""

    prompt: Span
    answer: int

    @classmethod
    def of(cls, request: Request) -> Self:
        """Exact for prompts of token ids."""
        return cls(prompt=_prompt_of(request), answer=request.max_tokens)

    def __str__(self) -> str:
        return f"{self.prompt} tokens for an answer of {self.answer}"


def expected(phase: ByPhase | None, lengths: Lengths, *, hybrids: bool) -> frozenset[Path]:
    """The ways that a router with these settings may choose.

    One, but for lengths that it estimates, and for an adaptive one, where what answers were of late and
    what there is to do decide within bounds. ``hybrids``: there are such instances.
    """
    if phase is None:
        return frozenset({Path.PREFILL})
    return frozenset(
        _way(is_long, is_one_sided, hybrids)
        for is_long in _truths(lengths.prompt, *_thresholds(phase))
        for is_one_sided in _one_sided(phase, lengths)
    )


def most_characters(tokens: int) -> int:
    """Characters of a text that nobody can take for fewer tokens."""
    return tokens * _MOST_CHARACTERS_PER_TOKEN


def _way(is_long: bool, is_one_sided: bool, hybrids: bool) -> Path:
    if is_long and is_one_sided:
        return Path.PREFILL
    if not is_long and not is_one_sided:
        return Path.DECODE
    return Path.HYBRID if hybrids else Path.PREFILL


def _thresholds(phase: ByPhase) -> tuple[Fraction, Fraction]:
    """The lowest and the highest that may be in force."""
    configured = Fraction(phase.input_threshold)
    flex = _decimal(phase.flex) if phase.policy == "adaptive" else Fraction(1)
    return configured / flex, configured * flex


def _truths(value: Span, lowest: Fraction, highest: Fraction) -> Iterator[bool]:
    """Whether a value reaches a threshold, both of which are known within bounds."""
    if value.most >= lowest:
        yield True
    if value.least < highest:
        yield False


def _one_sided(phase: ByPhase, lengths: Lengths) -> Iterator[bool]:
    ratio = _decimal(phase.ratio)
    # Answers of late may have been as short as one token; none is counted longer than it may become.
    shortest = 1 if phase.policy == "adaptive" else lengths.answer
    if lengths.prompt.most >= ratio * shortest:
        yield True
    if lengths.prompt.least < ratio * lengths.answer:
        yield False


def _decimal(number: float) -> Fraction:
    """As it is written: 0.1 is a tenth, and not the binary fraction next to it."""
    return Fraction(str(number))


def _prompt_of(request: Request) -> Span:
    if request.prompt_tokens is not None:
        return Span.exactly(request.prompt_tokens)
    characters = len(request.prompt) if isinstance(request.prompt, str) else _characters(request)
    return Span(
        least=max(characters // _MOST_CHARACTERS_PER_TOKEN, 1),
        most=characters + (_TEMPLATE if request.is_chat else 0),
    )


def _characters(request: Request) -> int:
    return sum(
        len(str(one["content"]))
        for one in request.prompt
        if not isinstance(one, str | int) and "content" in one
    )
