"""What is claimed of prefill and decode against one instance."""

from __future__ import annotations

import pytest

from pdtest.compare import Comparison, Side, Verdict
from pdtest.compare.comparison import Change
from pdtest.environment.performance import Limit
from pdtest.oracle.claims import claim_findings, ratio
from pdtest.oracle.verdict import Ruling
from pdtest.results import Better


def comparison(*changes: Change) -> Comparison:
    return Comparison(
        environment="embedded",
        target="pd",
        workload="default",
        old=Side(name="single", fingerprint="f", runs=5),
        new=Side(name="pd", fingerprint="f", runs=5),
        verdict=Verdict.PASS,
        why="",
        alpha=0.05,
        changes=changes,
    )


def change(relative: float | None, *interval: float) -> Change:
    return Change(
        measure="tbt_p90",
        unit="s",
        better=Better.LOWER,
        judged=False,
        old=(1.0,),
        new=(1.0,),
        relative=relative,
        relative_interval=(interval[0], interval[1]) if interval else None,
    )


@pytest.mark.parametrize(
    ("seen", "limit", "ruling", "word"),
    [
        (change(-0.5, -0.6, -0.4), Limit(at_most=0.7), Ruling.PASS, "confirmed"),
        (change(-0.5, -0.6, -0.2), Limit(at_most=0.7), Ruling.INCONCLUSIVE, "more runs"),
        (change(0.1, -0.2, 0.4), Limit(at_most=0.7), Ruling.FAIL, "refuted"),
        (change(0.6, 0.55, 0.7), Limit(at_least=1.5), Ruling.PASS, "confirmed"),
        (change(0.6, 0.1, 0.7), Limit(at_least=1.5), Ruling.INCONCLUSIVE, "more runs"),
        (change(0.2, 0.1, 0.3), Limit(at_least=1.5), Ruling.FAIL, "refuted"),
        (change(0.0, -0.1, 0.1), Limit(at_least=0.8, at_most=1.2), Ruling.PASS, "confirmed"),
        (change(None), Limit(at_most=1), Ruling.INCONCLUSIVE, "not measured on both"),
    ],
)
def test_a_claim_is_confirmed_refuted_or_left_open(
    seen: Change, limit: Limit, ruling: Ruling, word: str
) -> None:
    (finding,) = claim_findings(comparison(seen), {"tbt_p90": limit})

    assert finding.ruling is ruling
    assert word in finding.text


def test_a_ratio_is_never_below_nothing() -> None:
    assert ratio(change(-0.5, -2.25, 0.25)) == (0.5, 0.0, 1.25)


def test_a_claim_on_what_nobody_measured_is_open() -> None:
    (finding,) = claim_findings(comparison(), {"energy": Limit(at_most=1)})

    assert finding.ruling is Ruling.INCONCLUSIVE
