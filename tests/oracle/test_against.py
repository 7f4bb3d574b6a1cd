"""Comparisons as findings: what ends a test, and what leaves it open."""

from __future__ import annotations

from pathlib import Path

import pytest

from pdtest.compare import Baselines
from pdtest.environment.compare import Compare
from pdtest.oracle.against import against, comparison_findings, keep
from pdtest.oracle.verdict import Finding, Ruling, conclude
from pdtest.results import Result
from tests.compare.made import STEADY, runs, scaled


@pytest.fixture
def kept(tmp_path: Path) -> Baselines:
    baselines = Baselines(directory=tmp_path)
    keep("nightly", runs({"ttft_p50": STEADY}, conditions={"cores": 4}), baselines)
    return baselines


def findings(results: tuple[Result, ...], kept: Baselines) -> list[Finding]:
    return comparison_findings(against("nightly", results, kept, Compare()), "nightly")


def ruling(found: list[Finding]) -> Ruling:
    return conclude("no worse", found, needs_proof=False).ruling


def test_what_is_as_good_passes_and_what_is_better_too(kept: Baselines) -> None:
    assert ruling(findings(runs({"ttft_p50": STEADY}), kept)) is Ruling.PASS
    assert ruling(findings(runs({"ttft_p50": scaled(0.7)}), kept)) is Ruling.PASS


def test_what_is_worse_fails_by_its_measure(kept: Baselines) -> None:
    (found,) = findings(runs({"ttft_p50": scaled(1.3)}), kept)
    assert (found.check, found.ruling) == ("ttft_p50", Ruling.FAIL)
    assert found.text == "fail: 30 % worse, p 0.004"


def test_a_client_that_was_the_bottleneck_leaves_it_open(kept: Baselines) -> None:
    (found,) = findings(runs({"ttft_p50": scaled(1.3)}, invalid=5), kept)
    assert found.ruling is Ruling.INCONCLUSIVE
    assert "bound by their client" in found.text


def test_no_baseline_leaves_it_open_and_says_how_to_make_one(kept: Baselines) -> None:
    (found,) = findings(runs({"ttft_p50": STEADY}, workload={"name": "burst"}, fingerprint="b" * 16), kept)
    assert found.ruling is Ruling.INCONCLUSIVE
    assert "--baseline save:nightly" in found.text


def test_a_baseline_of_other_conditions_leaves_it_open_and_names_them(kept: Baselines) -> None:
    other = runs({"ttft_p50": scaled(1.3)}, fingerprint="e" * 16, conditions={"cores": 2})
    (found,) = findings(other, kept)
    assert (found.check, found.ruling) == ("conditions", Ruling.INCONCLUSIVE)
    assert found.text == "cores was 4, is 2"


def test_keeping_says_how_many_there_are(kept: Baselines) -> None:
    (found,) = keep("nightly", runs({"ttft_p50": STEADY}, run="second"), kept, add=True)
    assert (found.ruling, found.text) == (Ruling.PASS, "'nightly' has 10 runs")
    (found,) = keep("nightly", runs({"ttft_p50": STEADY}, invalid=5), kept)
    assert found.ruling is Ruling.INCONCLUSIVE
