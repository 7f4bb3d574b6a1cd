"""Verdicts: pass, fail or inconclusive, and the findings they rest on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Ruling(StrEnum):
    """What a check, or all of them together, decided."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One check's ruling, in words.

    ``check`` names what was looked at (parity, tokens moved ...); ``text`` says what was seen and, for
    an inconclusive finding, which proof is missing. ``proof`` is True for a finding that, when it
    passes, shows that KV moved: without one of these nothing passes.
    """

    check: str
    ruling: Ruling
    text: str
    proof: bool = False

    def __str__(self) -> str:
        return f"{self.ruling:<12} {self.check}: {self.text}"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The ruling on one claim, with everything that was found."""

    claim: str
    ruling: Ruling
    findings: tuple[Finding, ...]

    @property
    def decisive(self) -> tuple[Finding, ...]:
        """The findings that made the ruling what it is."""
        return tuple(finding for finding in self.findings if finding.ruling is self.ruling)

    def __str__(self) -> str:
        rows = "\n".join(f"  {finding}" for finding in self.findings)
        return f"{self.ruling.upper()}: {self.claim}\n{rows}"


def conclude(claim: str, findings: Iterable[Finding], *, needs_proof: bool = True) -> Verdict:
    """One failure fails; else one open question, or no proof that KV moved, is inconclusive.

    ``needs_proof`` is False only for claims that say nothing about a transfer (a contract review).
    """
    seen = tuple(findings)
    if not any(finding.proof or finding.ruling is not Ruling.PASS for finding in seen) and needs_proof:
        seen = (*seen, _unproven())
    if not seen:
        seen = (Finding(check="evidence", ruling=Ruling.INCONCLUSIVE, text="nothing was checked"),)
    rulings = {finding.ruling for finding in seen}
    for ruling in (Ruling.FAIL, Ruling.INCONCLUSIVE, Ruling.PASS):
        if ruling in rulings:
            return Verdict(claim=claim, ruling=ruling, findings=seen)
    raise AssertionError(rulings)


def _unproven() -> Finding:
    return Finding(
        check="evidence",
        ruling=Ruling.INCONCLUSIVE,
        text="the output is right, but nothing proves that KV moved rather than being computed again",
    )
