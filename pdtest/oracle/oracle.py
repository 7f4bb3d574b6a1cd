"""The oracle: takes what was seen of some handoffs and decides."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from pdtest.client.handoff import Handoff
from pdtest.events.record import Event
from pdtest.events.verdict import VerdictReached
from pdtest.oracle.evidence import weigh
from pdtest.oracle.parity import Tolerance
from pdtest.oracle.reference import Reference
from pdtest.oracle.trial import Trial
from pdtest.oracle.verdict import Finding, Ruling, Verdict, conclude
from pdtest.oracle.volley import Volley


@dataclass(frozen=True, kw_only=True)
class Oracle:
    """Judges volleys: contract, parity with the reference, evidence that KV moved.

    A check that crashes is an open question, never a pass and never the end of the other checks.
    ``on_event`` is told every verdict; ``test`` names the test it was reached in.
    """

    reference: Reference
    tolerance: Tolerance
    block_size: int
    on_event: Callable[[Event], None] | None = None
    test: str = ""
    #: What is to be seen of a handoff's KV.
    xray: Callable[[Handoff], Iterable[Finding]] | None = None

    async def judge(self, volley: Volley, claim: str) -> Verdict:
        """The verdict on everything that can be asked about a volley."""
        if not volley.handoffs:
            nothing = Finding(check="answer", ruling=Ruling.INCONCLUSIVE, text="nothing was sent")
            return self.reach(claim, [nothing], volley)
        findings = [
            finding
            for handoff in volley.handoffs
            for finding in _guarded("contract", partial(contract_findings, handoff))
        ]
        for parity in await asyncio.gather(*map(self.parity, volley.handoffs)):
            findings += parity
        findings += _guarded("evidence", partial(weigh, volley.window, volley.claim))
        if self.xray is not None:
            for handoff in volley.handoffs:
                findings += _guarded("x-ray", partial(self.xray, handoff))
        # Where nothing has to move there is nothing to prove: a prompt that decode must compute.
        return self.reach(claim, findings, volley, needs_proof=volley.claim.demand.transferred > 0)

    async def parity(self, handoff: Handoff) -> list[Finding]:
        """Findings on one answer against the reference's."""
        if handoff.answer is None:
            why = handoff.error or handoff.ending
            return [Finding(check="answer", ruling=Ruling.FAIL, text=f"{handoff.request_id}: {why}")]
        trial = Trial(self.reference, self.tolerance, self.block_size)
        try:
            await trial.hold(handoff)
        except Exception as error:  # noqa: BLE001 - whatever a check dies of, it has decided nothing
            trial.findings.append(crashed("parity", error))
        return trial.findings

    def reach(
        self, claim: str, findings: list[Finding], volley: Volley, *, needs_proof: bool = True
    ) -> Verdict:
        """Conclude, and tell."""
        verdict = conclude(claim, findings, needs_proof=needs_proof)
        if self.on_event is not None:
            self.on_event(verdict_event(verdict, volley, self.test))
        return verdict


def contract_findings(handoff: Handoff) -> list[Finding]:
    """One finding per breach, or one that says that the messages kept the contract."""
    if handoff.breaches:
        return [_contract(Ruling.FAIL, f"{handoff.request_id}: {breach}") for breach in handoff.breaches]
    if not handoff.reviews:  # through a proxy nobody sees them
        return []
    return [_contract(Ruling.PASS, f"{len(handoff.reviews)} messages as {handoff.contract} has it")]


def crashed(check: str, error: Exception) -> Finding:
    """What is left of a check that did not come to its end: an open question, with the traceback."""
    told = "".join(traceback.format_exception(error)).rstrip()
    text = f"the check crashed with {type(error).__name__}: {error}\n{told}"
    return Finding(check=check, ruling=Ruling.INCONCLUSIVE, text=text)


def verdict_event(verdict: Verdict, volley: Volley, test: str) -> VerdictReached:
    """The verdict as the journal keeps it."""
    return VerdictReached(
        test=test,
        claim=verdict.claim,
        ruling=verdict.ruling,
        findings=tuple((finding.check, finding.ruling, finding.text) for finding in verdict.findings),
        request_ids=tuple(handoff.request_id for handoff in volley.handoffs),
    )


def _guarded(check: str, look: Callable[[], Iterable[Finding]]) -> list[Finding]:
    try:
        return list(look())
    except Exception as error:  # noqa: BLE001 - as in `Oracle.parity`
        return [crashed(check, error)]


def _contract(ruling: Ruling, text: str) -> Finding:
    return Finding(check="contract", ruling=ruling, text=text)
