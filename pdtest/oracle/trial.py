"""The trial of one answer: held against the reference, through its numeric ties to the end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from pdtest.client.answer import Answer
from pdtest.client.errors import RequestFailed
from pdtest.client.handoff import Handoff
from pdtest.client.request import Request
from pdtest.oracle.errors import ReferenceMissing
from pdtest.oracle.forcing import (
    is_drawn,
    is_repeatable,
    remainder,
    reweighed,
    teacher_forced,
    weighing,
)
from pdtest.oracle.parity import Comparison, Divergence, Tolerance, compare, is_open, is_tie
from pdtest.oracle.reference import Reference
from pdtest.oracle.verdict import Finding, Ruling

#: After this many numeric ties in one answer the comparison stops: by then it proves nothing.
_MOST_TIES = 8


@dataclass
class Trial:
    """One answer's parity with the reference. What was found so far is in ``findings``."""

    reference: Reference
    tolerance: Tolerance
    block_size: int
    findings: list[Finding] = field(default_factory=list)
    _equal_tokens: int = 0
    _logprobs: int = 0
    _ties: int = 0
    _worst: float = 0.0

    async def hold(self, handoff: Handoff) -> None:
        """Hold a handoff's answer against the reference's."""
        await self.weigh(handoff.request, handoff.require(), handoff.request_id)

    async def weigh(self, request: Request, answer: Answer, request_id: str) -> None:
        """Hold the answer to a request, sent as ``request_id``, against the reference's."""
        if not is_repeatable(request):
            self._find(Ruling.INCONCLUSIVE, "tokens drawn without a seed: no two answers need be equal")
            return
        try:
            await self._compare(request, answer, await self.reference.answer(request))
        except (ReferenceMissing, RequestFailed) as error:
            self._find(Ruling.INCONCLUSIVE, f"no reference for {request_id}: {error}")

    async def _compare(self, request: Request, answer: Answer, reference: Answer) -> None:
        offset = 0
        while self._ties < _MOST_TIES:
            seen = await self._seen(request, answer, reference, offset)
            if not self._only_ties(seen):
                return
            forced = self._forced(request, answer, reference, seen, offset)
            if forced is None:
                return
            position = seen.divergences[0].position - offset
            reference = await self.reference.answer(forced)
            answer, request, offset = remainder(answer, position), forced, offset + position + 1
        self._find(Ruling.INCONCLUSIVE, f"{_MOST_TIES} numeric ties in one answer: too many to go on")

    async def _seen(self, request: Request, answer: Answer, reference: Answer, offset: int) -> Comparison:
        seen = compare(answer, reference, tolerance=self.tolerance, block_size=self.block_size, offset=offset)
        self._equal_tokens += seen.equal_tokens
        self._logprobs += seen.logprobs
        self._worst = max(self._worst, seen.worst)
        decided = (self._decided(request, reference, divergence, offset) for divergence in seen.divergences)
        return replace(seen, divergences=tuple(await asyncio.gather(*decided)))

    async def _decided(
        self, request: Request, reference: Answer, divergence: Divergence, offset: int
    ) -> Divergence:
        """The divergence with its margin, for which the reference is asked again if need be."""
        if not is_open(divergence, self.tolerance):
            return divergence
        again = weighing(request, reference, divergence, divergence.position - offset)
        if again is None:
            return divergence
        try:
            return reweighed(divergence, await self.reference.answer(again))
        except (ReferenceMissing, RequestFailed):
            return divergence

    def _only_ties(self, seen: Comparison) -> bool:
        """Tell what was found. True when nothing is decided yet: all that differs may be numeric ties."""
        wrong = list(self._wrong(seen))
        unclear = [divergence for divergence in seen.divergences if is_open(divergence, self.tolerance)]
        if wrong:
            self._find(Ruling.FAIL, "; ".join(wrong))
        elif unclear:
            why = "the reference's candidates do not tell a numeric tie from corruption"
            self._find(Ruling.INCONCLUSIVE, f"{'; '.join(map(str, unclear))}: {why}")
        elif seen.equal:
            self._find(Ruling.PASS, self._summary())
        return not (wrong or unclear or seen.equal)

    def _wrong(self, seen: Comparison) -> Iterator[str]:
        if seen.drift is not None:
            yield str(seen.drift)
        for divergence in seen.divergences:
            if not is_tie(divergence, self.tolerance) and not is_open(divergence, self.tolerance):
                yield f"corruption: {divergence}"
        yield from seen.mismatches

    def _forced(
        self, request: Request, answer: Answer, reference: Answer, seen: Comparison, offset: int
    ) -> Request | None:
        """How to go on after a tie. None: there is no way, which is then told."""
        tie = seen.divergences[0]
        for divergence in seen.divergences:
            self._ties += 1
            text = f"numeric tie, judged by teacher forcing: {divergence}"
            self.findings.append(Finding(check="tie", ruling=Ruling.PASS, text=text))
        position = tie.position - offset
        forced = teacher_forced(request, reference, answer, position)
        if forced is None:
            self._end_in_tie(request, answer, reference, position)
        return forced

    def _end_in_tie(self, request: Request, answer: Answer, reference: Answer, position: int) -> None:
        """The tie was the last token, so nothing is left to compare; or it cannot be followed."""
        ours, theirs = answer.choices[0], reference.choices[0]
        length = len(ours.token_ids or ())
        if len(answer.choices) > 1 or is_drawn(request) or position != length - 1:
            self._find(Ruling.INCONCLUSIVE, "a numeric tie that teacher forcing cannot follow")
        elif ours.finish_reason == "length" and length < len(theirs.token_ids or ()):
            text = f"{length} tokens (finish reason length), the reference has {len(theirs.token_ids or ())}"
            self._find(Ruling.FAIL, text)
        else:
            self._find(Ruling.PASS, self._summary())

    def _summary(self) -> str:
        ties = f" but for {self._ties} numeric ties" if self._ties else ""
        tokens = f"{self._equal_tokens} tokens equal{ties}"
        if not self._logprobs:
            # Scaling a layer's KV by 1 % changes no token and every log-probability.
            return f"{tokens}; without log-probabilities, so small corruption would go unseen"
        within = f"within {self._worst:.2g} of {self.tolerance.logprob:g}"
        if self._logprobs < self._equal_tokens:
            return f"{tokens}, log-probabilities of {self._logprobs} of them {within}"
        return f"{tokens}, log-probabilities {within}"

    def _find(self, ruling: Ruling, text: str) -> None:
        self.findings.append(Finding(check="parity", ruling=ruling, text=text))
