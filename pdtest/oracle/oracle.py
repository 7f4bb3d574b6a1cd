"""The oracle: takes what was seen of some handoffs and decides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from pdtest.client.answer import Answer
from pdtest.client.errors import RequestFailed
from pdtest.client.handoff import Handoff
from pdtest.client.request import Request
from pdtest.events.record import Event
from pdtest.events.verdict import VerdictReached
from pdtest.oracle.errors import ReferenceMissing
from pdtest.oracle.evidence import weigh
from pdtest.oracle.parity import Comparison, Tolerance, compare, is_tie, remainder, teacher_forced
from pdtest.oracle.reference import Reference
from pdtest.oracle.verdict import Finding, Ruling, Verdict, conclude
from pdtest.oracle.volley import Volley

#: After this many numeric ties in one answer the comparison stops: by then it proves nothing.
_MOST_TIES = 8


@dataclass(frozen=True, kw_only=True)
class Oracle:
    """Judges volleys: contract, parity with the reference, evidence that KV moved.

    ``on_event`` is told every verdict; ``test`` names the test it was reached in.
    """

    reference: Reference
    tolerance: Tolerance
    block_size: int
    on_event: Callable[[Event], None] | None = None
    test: str = ""

    async def judge(self, volley: Volley, claim: str) -> Verdict:
        """The verdict on everything that can be asked about a volley."""
        findings = [finding for handoff in volley.handoffs for finding in contract_findings(handoff)]
        for parity in await asyncio.gather(*map(self.parity, volley.handoffs)):
            findings += parity
        findings += weigh(volley.window, volley.claim)
        # Where nothing has to move there is nothing to prove: a prompt that decode must compute.
        return self.reach(claim, findings, volley, needs_proof=volley.claim.demand.transferred > 0)

    async def parity(self, handoff: Handoff) -> list[Finding]:
        """Findings on one answer against the reference's."""
        if handoff.answer is None:
            return [_finding("answer", Ruling.FAIL, f"{handoff.request_id}: {handoff.error}")]
        try:
            reference = await self.reference.answer(handoff.request)
            compared = self._compared(handoff.request, handoff.answer, reference)
            return [finding async for finding in compared]
        except (ReferenceMissing, RequestFailed) as error:
            missing = f"no reference for {handoff.request_id}: {error}"
            return [_finding("parity", Ruling.INCONCLUSIVE, missing)]

    def reach(
        self, claim: str, findings: list[Finding], volley: Volley, *, needs_proof: bool = True
    ) -> Verdict:
        """Conclude, and tell."""
        verdict = conclude(claim, findings, needs_proof=needs_proof)
        if self.on_event is not None:
            self.on_event(verdict_event(verdict, volley, self.test))
        return verdict

    async def _compared(self, request: Request, answer: Answer, reference: Answer) -> AsyncIterator[Finding]:
        offset, compared, worst = 0, 0, 0.0
        for _ in range(_MOST_TIES):
            seen = compare(
                answer, reference, tolerance=self.tolerance, block_size=self.block_size, offset=offset
            )
            compared, worst = compared + seen.compared, max(worst, seen.worst)
            if seen.divergence is None or seen.drift is not None:
                yield _parity(seen, compared, worst, self.tolerance)
                return
            if not is_tie(seen.divergence, self.tolerance):
                yield _finding("parity", Ruling.FAIL, f"corruption: {seen.divergence}")
                return
            yield _finding("tie", Ruling.PASS, f"numeric tie, judged by teacher forcing: {seen.divergence}")
            position = seen.divergence.position - offset
            forced = teacher_forced(request, reference, answer, position)
            if forced is None:
                yield _ended_in_tie(answer, position, compared)
                return
            reference = await self.reference.answer(forced)
            answer, request, offset = remainder(answer, position), forced, offset + position + 1
        yield _finding("parity", Ruling.INCONCLUSIVE, f"more than {_MOST_TIES} numeric ties in one answer")


def contract_findings(handoff: Handoff) -> list[Finding]:
    """One finding per breach, or one that says that the messages kept the contract."""
    if handoff.breaches:
        return [
            _finding("contract", Ruling.FAIL, f"{handoff.request_id}: {breach}")
            for breach in handoff.breaches
        ]
    if not handoff.reviews:  # through a proxy nobody sees them
        return []
    return [
        _finding("contract", Ruling.PASS, f"{len(handoff.reviews)} messages as {handoff.contract} has it")
    ]


def verdict_event(verdict: Verdict, volley: Volley, test: str) -> VerdictReached:
    """The verdict as the journal keeps it."""
    return VerdictReached(
        test=test,
        claim=verdict.claim,
        ruling=verdict.ruling,
        findings=tuple((finding.check, finding.ruling, finding.text) for finding in verdict.findings),
        request_ids=tuple(handoff.request_id for handoff in volley.handoffs),
    )


def _parity(seen: Comparison, compared: int, worst: float, tolerance: Tolerance) -> Finding:
    if seen.equal:
        return _finding(
            "parity",
            Ruling.PASS,
            f"{compared} tokens equal, log-probabilities within {worst:.2g} of {tolerance.logprob:g}",
        )
    wrong = [str(thing) for thing in (seen.drift, seen.divergence, *seen.mismatches) if thing]
    return _finding("parity", Ruling.FAIL, "; ".join(wrong))


def _ended_in_tie(answer: Answer, position: int, compared: int) -> Finding:
    """The tie was the last token (nothing is left), or there is no way to go on from it."""
    generated = answer.choices[0].token_ids
    if generated is not None and len(answer.choices) == 1 and position == len(generated) - 1:
        return _finding("parity", Ruling.PASS, f"{compared} tokens equal but for a tie at the last one")
    return _finding("parity", Ruling.INCONCLUSIVE, "a tie that teacher forcing cannot go on from")


def _finding(check: str, ruling: Ruling, text: str) -> Finding:
    return Finding(check=check, ruling=ruling, text=text)
