"""How a verdict that is no pass ends a test."""

from __future__ import annotations

from pdtest.errors import PdtestError
from pdtest.oracle.verdict import Ruling, Verdict


class VerdictError(AssertionError):
    """Base: carries the verdict. An AssertionError, so that any runner counts it as a failed test."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict
        super().__init__(str(verdict))


class Failed(VerdictError):
    """The claim is false."""


class Inconclusive(VerdictError):
    """The claim could be neither shown nor refuted; the verdict says which proof is missing."""


class ReferenceMissing(PdtestError):
    """No colocated answer exists for a request, and none may be made now."""

    title = "no reference"


def enforce(verdict: Verdict) -> Verdict:
    """Return a pass; raise Failed or Inconclusive for anything else."""
    __tracebackhide__ = True
    if verdict.ruling is Ruling.FAIL:
        raise Failed(verdict)
    if verdict.ruling is Ruling.INCONCLUSIVE:
        raise Inconclusive(verdict)
    return verdict
