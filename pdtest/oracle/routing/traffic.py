"""Errands through a router: what was sent, and what became of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pdtest.client.answer import Answer
from pdtest.client.prompts import Prompts
from pdtest.client.request import Request
from pdtest.environment.schema import Role
from pdtest.oracle.routing.expected import Lengths
from pdtest.oracle.routing.lanes import Lane
from pdtest.oracle.verdict import Finding, Ruling
from pdtest.routing.served import Path


@dataclass(frozen=True, kw_only=True)
class Errand:
    """A request, and the headers that go along. ``due_s``: seconds after the first one."""

    request: Request
    headers: Mapping[str, str] = field(default_factory=dict)
    due_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Errands:
    """Makes errands of random tokens that no other request shares a prefix with."""

    prompts: Prompts

    def of(
        self, lane: Lane, many: int = 1, *, headers: Mapping[str, str] | None = None, **settings: Any
    ) -> list[Errand]:
        """``many`` of these lengths. ``settings`` of the request beside them."""
        return [self.after((), lane, headers=headers, **settings) for _ in range(many)]

    def after(
        self,
        prefix: tuple[int, ...],
        lane: Lane,
        *,
        headers: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> Errand:
        """One whose prompt begins with ``prefix``, which counts in its length."""
        request = Request.tokens(
            prefix + self.prompts.tokens(lane.prompt - len(prefix)),
            **{"max_tokens": lane.answer, "ignore_eos": True, "logprobs": None, **settings},
        )
        return Errand(request=request, headers=headers or {})

    def endless(self, lane: Lane) -> Iterator[Errand]:
        """One more, as often as it is asked for."""
        while True:
            yield from self.of(lane)


@dataclass(frozen=True, kw_only=True)
class Routed:
    """An errand that was answered. ``prefill``, ``decode``, ``path``: None where that cannot be known.

    ``sent_s`` and ``done_s`` are of one monotonic clock.
    """

    errand: Errand
    answer: Answer
    prefill: str | None
    decode: str | None
    path: Path | None
    sent_s: float
    done_s: float

    def by(self, role: Role) -> str | None:
        """Who did a role's part of it: computed its prompt, or made its answer."""
        return self.prefill if role is Role.PREFILL else self.decode

    def __str__(self) -> str:
        lengths = Lengths.of(self.errand.request)
        return f"{lengths} took {self.path or 'a way unknown'} ({self.prefill} -> {self.decode})"


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Errands that were sent together: the answered ones in the order of sending, and why others are lost.

    ``unknown`` says why something about who served one of them could not be learned. ``prompts`` and
    ``answers`` are how many each member computed, and ``uncounted`` says why they are not all.
    """

    routed: tuple[Routed, ...] = ()
    lost: tuple[str, ...] = ()
    unknown: str = ""
    prompts: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    uncounted: str = ""

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(
            routed=self.routed + other.routed,
            lost=self.lost + other.lost,
            unknown=self.unknown or other.unknown,
            prompts=self.prompts + other.prompts,
            answers=self.answers + other.answers,
            uncounted=self.uncounted or other.uncounted,
        )

    def counts(self, role: Role, names: tuple[str, ...]) -> dict[str, int]:
        """How many each of ``names`` did of a role's part; zeros included."""
        counted = self.prompts if role is Role.PREFILL else self.answers
        return {name: counted[name] for name in names}

    def answered(self) -> list[Finding]:
        """Nothing was lost."""
        if not self.lost:
            text = f"all {len(self.routed)} requests were answered"
            return [Finding(check="answered", ruling=Ruling.PASS, text=text)]
        text = f"{len(self.lost)} of {len(self.lost) + len(self.routed)} requests failed: {self.lost[0]}"
        return [Finding(check="answered", ruling=Ruling.FAIL, text=text)]

    def counted(self) -> list[Finding]:
        """Nothing, or one open question, where it is not known how many each member served."""
        if not self.uncounted:
            return []
        return [Finding(check="counted", ruling=Ruling.INCONCLUSIVE, text=self.uncounted)]

    def known(self, *roles: Role) -> list[Finding]:
        """Nothing, or one open question, where it is not known who did these roles' parts of each."""
        missing = [one for one in self.routed for role in roles if one.by(role) is None]
        if not missing:
            return []
        why = self.unknown or "the observer does not say why"
        text = f"who served {len(missing)} of {len(self.routed)} requests is not known: {why}"
        return [Finding(check="observed", ruling=Ruling.INCONCLUSIVE, text=text)]
