"""Lengths that make a request take a certain way, for tests that want it to."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from pdtest.environment.routing import ByPhase, Routing
from pdtest.environment.schema import Role
from pdtest.oracle.routing.expected import Lengths, Span, expected, most_characters
from pdtest.routing.served import Path

#: Blocks of a prompt, where nothing says how long it must be: some for a beginning that others share.
_BLOCKS = 4
#: Tokens of an answer.
_ANSWER = 2


@dataclass(frozen=True, kw_only=True)
class Lane:
    """Tokens of a prompt, and of the answer that is asked for."""

    prompt: int
    answer: int

    @property
    def lengths(self) -> Lengths:
        """As the expectation has them."""
        return Lengths(prompt=Span.exactly(self.prompt), answer=self.answer)


@dataclass(frozen=True, kw_only=True)
class Lanes:
    """The lanes of one router.

    ``room``: tokens of the longest prompt and answer together. ``block_size``: of KV, tokens.
    """

    settings: Routing
    hybrids: bool
    room: int
    block_size: int

    def way(self, path: Path) -> Lane | None:
        """The shortest lengths that must take this way, whatever an adaptive router thinks; None: none do."""
        return next((lane for lane in self._candidates() if self._must(lane, path)), None)

    def handed_over(self, prompt: int) -> Lane | None:
        """So long a prompt with an answer of a token, if it must be handed over."""
        lane = Lane(prompt=prompt, answer=1)
        return lane if self._must(lane, Path.PREFILL) else None

    def every(self, path: Path) -> list[Lane]:
        """One of each kind that must take this way: a hybrid instance gets long ones, and one-sided ones."""
        found = [lane for lane in self._candidates() if self._must(lane, path)]
        threshold = self.settings.phase.input_threshold if self.settings.phase else 0
        kinds = {lane.prompt >= threshold: lane for lane in reversed(found)}
        return list(kinds.values())

    def serving(self, role: Role) -> Lane | None:
        """Lengths with which a prefill, decode or hybrid instance is needed."""
        paths = {Role.DECODE: (Path.DECODE, Path.PREFILL), Role.HYBRID: (Path.HYBRID,)}.get(
            role, (Path.PREFILL,)
        )
        lanes = [lane for path in paths if (lane := self.way(path)) is not None]
        return min(lanes, key=lambda lane: lane.prompt + 4 * lane.answer, default=None)

    def around_the_threshold(self, phase: ByPhase) -> list[Lane]:
        """A token less, as many, a token more: one-sided with the one answer, and not with the other."""
        threshold = phase.input_threshold
        answers = (min(_ANSWER, int((threshold - 1) / phase.ratio)), int((threshold + 1) / phase.ratio) + 1)
        lanes = [Lane(prompt=threshold + off, answer=answer) for answer in answers for off in (-1, 0, 1)]
        return self._fitting(lanes)

    def around_the_ratio(self, phase: ByPhase) -> list[Lane]:
        """The same of the ratio: with prompts of about half the threshold, and with long ones."""
        threshold, ratio = phase.input_threshold, phase.ratio
        answers = (max(int(threshold / 2 / ratio), 1), math.ceil((threshold + 2) / ratio))
        lanes = [
            Lane(prompt=math.ceil(ratio * answer) + off, answer=answer)
            for answer in answers
            for off in (-1, 0, 1)
        ]
        return self._fitting(lanes)

    def drawn(self, phase: ByPhase, many: int, dice: random.Random) -> list[Lane]:
        """At random, near both limits."""
        threshold, ratio = phase.input_threshold, phase.ratio
        lanes = [
            Lane(
                prompt=round(threshold * dice.uniform(0.5, 1.5)),
                answer=max(round(threshold / ratio * dice.uniform(0, 1.5)), 1),
            )
            for _ in range(many)
        ]
        return self._fitting(lanes)

    def texts(self, phase: ByPhase) -> list[tuple[int, int]]:
        """Characters of texts that are long, or short, however they are estimated; and answers' tokens."""
        long = most_characters(phase.input_threshold)
        short = phase.input_threshold // 3
        found = [
            (long, int(phase.input_threshold / phase.ratio)),
            (short, int(phase.input_threshold / phase.ratio) + 1),
        ]
        return [(characters, answer) for characters, answer in found if 0 < answer <= self.room - characters]

    def _fitting(self, lanes: list[Lane]) -> list[Lane]:
        return [lane for lane in lanes if self._fits(lane)]

    def occupying(self, *, prompt: int, answer: int) -> Lane | None:
        """Lengths that keep a decode instance, and no hybrid one, busy for long; None: there are none.

        As given if they do, else with the longest answer that does, else with a prompt so short that nobody
        thinks it one-sided, however short answers were of late.
        """
        phase = self.settings.phase
        tries = [Lane(prompt=prompt, answer=answer)]
        if phase is not None:
            tries += [
                Lane(prompt=prompt, answer=min(answer, int(prompt / phase.ratio))),
                Lane(prompt=min(prompt, math.ceil(phase.ratio) - 1), answer=answer),
            ]
        return next((one for one in tries if self._fits(one) and not self._ways(one) - _ON_DECODE), None)

    def _candidates(self) -> list[Lane]:
        phase = self.settings.phase
        if phase is None:
            return [Lane(prompt=_BLOCKS * self.block_size, answer=_ANSWER)]
        flex = phase.flex if phase.policy == "adaptive" else 1.0
        low, high = phase.input_threshold / flex, phase.input_threshold * flex
        prompts = [8, math.ceil(low) - 1, math.ceil(high), math.ceil(max(high, phase.ratio * _ANSWER))]
        return [
            Lane(prompt=prompt, answer=answer)
            for prompt in prompts
            if prompt > 0
            for answer in (_ANSWER, 1, int(prompt / phase.ratio) + 1)
        ]

    def _must(self, lane: Lane, path: Path) -> bool:
        return self._fits(lane) and self._ways(lane) == {path}

    def _ways(self, lane: Lane) -> frozenset[Path]:
        return expected(self.settings.phase, lane.lengths, hybrids=self.hybrids)

    def _fits(self, lane: Lane) -> bool:
        return lane.answer > 0 and lane.prompt > 0 and lane.prompt + lane.answer <= self.room


_ON_DECODE = frozenset({Path.PREFILL, Path.DECODE})
