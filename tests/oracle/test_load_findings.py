"""Limits, held against the runs of a load."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pdtest.environment.performance import Limit, Slo
from pdtest.environment.schema import Thresholds
from pdtest.metrics.knee import Knee
from pdtest.oracle.load_findings import (
    by_chance,
    cross_check_findings,
    knee_findings,
    limits_of,
    load_findings,
    scaling_findings,
    served,
    sweep_findings,
)
from pdtest.oracle.sweep import RateSweep
from pdtest.oracle.verdict import Finding, Ruling, conclude

from .loads import BOUND, result_of

PASS, FAIL, OPEN = Ruling.PASS, Ruling.FAIL, Ruling.INCONCLUSIVE
FAST = {"ttft_mean": Limit(at_most=1.0)}


def rulings(findings: Sequence[Finding]) -> list[Ruling]:
    return [finding.ruling for finding in findings]


def runs(*values: float) -> list[Finding]:
    return load_findings([result_of(ttft_mean=value) for value in values], FAST)


@pytest.mark.parametrize(
    ("values", "ruling"),
    [
        ([0.9], PASS),
        ([1.0], PASS),
        ([1.1], FAIL),
        # The median decides for it ...
        ([0.5, 0.9, 5.0], PASS),
        # ... but against it only what is no chance.
        ([0.9, 1.1, 1.2], OPEN),
        ([1.1, 1.2, 1.3], FAIL),
        ([0.9, 1.1, 1.1, 1.1, 1.1], OPEN),
        ([0.9, *[1.1] * 7], FAIL),
    ],
)
def test_a_limit_is_broken_by_more_runs_than_chance_breaks(values: list[float], ruling: Ruling) -> None:
    assert rulings(runs(*values)) == [ruling]


def test_chance_is_the_sign_test() -> None:
    assert by_chance(5, 5) == pytest.approx(1 / 32)
    assert by_chance(7, 8) == pytest.approx(9 / 256)
    assert by_chance(0, 3) == 1


def test_lost_requests_of_one_run_are_not_made_up_for_by_others() -> None:
    results = [result_of(success_rate=value) for value in (1.0, 1.0, 0.9)]

    assert rulings(load_findings(results, {"success_rate": Limit(at_least=0.95)})) == [FAIL]


def test_a_run_bound_by_its_client_is_neither_good_nor_bad() -> None:
    for value in (0.1, 9.0):
        (finding,) = load_findings([result_of(ttft_mean=value, valid=False)], FAST)

        assert finding.ruling is OPEN
        assert "INVALID" in finding.text
        assert BOUND in finding.text


def test_the_other_runs_are_judged_and_the_question_stays_open() -> None:
    results = [result_of(ttft_mean=9.0, valid=False), result_of(ttft_mean=0.5, repeat=1)]

    findings = load_findings(results, FAST)

    assert rulings(findings) == [OPEN, PASS]
    assert conclude("fast", findings, needs_proof=False).ruling is OPEN


def test_a_run_that_was_measured_again_leaves_nothing_open() -> None:
    again = [result_of(ttft_mean=9.0, valid=False, repeat=1), result_of(ttft_mean=0.5, repeat=1)]

    assert rulings(load_findings(again, FAST)) == [PASS]


def test_what_was_not_measured_is_open_and_says_why() -> None:
    absent, unknown = load_findings([result_of(ttft_mean=None)], FAST | {"ttft_p98": Limit(at_most=1)})

    assert (absent.ruling, absent.text) == (OPEN, "not measured: nobody told; <= 1 is wanted")
    assert (unknown.ruling, unknown.text) == (OPEN, "there is no measure 'ttft_p98'; <= 1 is wanted")


def test_without_a_load_nothing_passes() -> None:
    assert rulings(load_findings([], FAST)) == [OPEN]


def test_every_load_is_answered_and_moves_its_kv() -> None:
    thresholds = Thresholds(
        performance={"ttft_mean": Limit(at_most=1), "knee_requests_per_s": Limit(at_least=1)}
    )

    assert set(served(thresholds, apart=False)) == {"success_rate"}
    assert set(limits_of(thresholds, apart=True)) == {"success_rate", "kv_transfer_success_rate", "ttft_mean"}


def test_kv_that_moved_is_proof_and_the_environment_may_ask_for_less() -> None:
    lax = Thresholds(performance={"kv_transfer_success_rate": Limit(at_least=0.5)})

    (finding,) = load_findings(
        [result_of(kv_transfer_success_rate=0.6)],
        {name: limit for name, limit in limits_of(lax, apart=True).items() if name.startswith("kv")},
    )

    assert finding.ruling is PASS
    assert finding.proof


@pytest.mark.parametrize(
    ("throughputs", "expected"),
    [
        ([10, 20, 30], [PASS, PASS, PASS]),
        ([10, 20, 15], [PASS, PASS, PASS]),
        ([10, 20, 13], [PASS, PASS, FAIL]),
        ([20, 13, 21], [PASS, FAIL, PASS]),
    ],
)
def test_a_service_that_collapses_is_found(throughputs: list[float], expected: list[Ruling]) -> None:
    steps = [
        (float(size), [result_of(output_tokens_per_s=value)]) for size, value in enumerate(throughputs, 1)
    ]

    assert rulings([*sweep_findings(steps, {}, 0.7, of="users")]) == expected


def test_each_step_of_a_sweep_keeps_to_its_limits() -> None:
    steps = [(1.0, [result_of(output_tokens_per_s=1, success_rate=0.5)])]

    findings = [*sweep_findings(steps, {"success_rate": Limit(at_least=0.95)}, 0.7, of="users")]

    assert rulings(findings) == [FAIL, PASS]


def sweep(knee: Knee, *, invalid: bool = False) -> RateSweep:
    step = (8.0, result_of(valid=not invalid), None if invalid else True)
    return RateSweep(steps=(step,), knee=knee, slo=Slo())


@pytest.mark.parametrize(
    ("knee", "limit", "expected"),
    [
        (Knee(rate=8, broke=16), None, [PASS]),
        (Knee(rate=8, broke=16), Limit(at_least=8), [PASS]),
        (Knee(rate=8, broke=16), Limit(at_least=9), [FAIL]),
        (Knee(rate=None, broke=4), None, [FAIL]),
        # Nobody knows how much more it would hold.
        (Knee(rate=8, broke=None), Limit(at_least=8), [PASS]),
        (Knee(rate=8, broke=None), Limit(at_least=9), [OPEN]),
    ],
)
def test_the_knee_is_where_it_must_be(knee: Knee, limit: Limit | None, expected: list[Ruling]) -> None:
    assert rulings(knee_findings(sweep(knee), limit)) == expected


def test_a_knee_of_the_client_is_not_the_services() -> None:
    findings = knee_findings(sweep(Knee(rate=4, broke=None), invalid=True), Limit(at_least=8))

    assert rulings(findings) == [OPEN, OPEN]
    assert rulings(knee_findings(sweep(Knee(rate=None, broke=None), invalid=True), None)) == [OPEN]


@pytest.mark.parametrize(
    ("throughputs", "efficiency", "expected"),
    [((10, 19), 0.95, [PASS, PASS]), ((10, 11), 0.55, [PASS, FAIL]), ((10, 9), 0.45, [FAIL, FAIL])],
)
def test_more_engines_must_serve_more(
    throughputs: tuple[float, float], efficiency: float, expected: list[Ruling]
) -> None:
    results = [
        result_of(output_tokens_per_s=value, target=name)
        for value, name in zip(throughputs, ("1p1d", "2p2d"), strict=True)
    ]

    assert rulings(scaling_findings(results, {}, efficiency, Limit(at_least=0.6))) == expected


SAME = {"completed": 20, "output_throughput": 100, "mean_tpot_ms": 20}


@pytest.mark.parametrize(
    ("theirs", "expected"),
    [
        (SAME, [PASS, PASS, PASS, PASS]),
        (SAME | {"output_throughput": 60}, [PASS, PASS, FAIL, PASS]),
        (SAME | {"output_throughput": 150}, [PASS, PASS, FAIL, PASS]),
        (SAME | {"mean_tpot_ms": 30}, [PASS, PASS, PASS, FAIL]),
        (SAME | {"completed": 19}, [PASS, FAIL, PASS, PASS]),
    ],
)
def test_two_clients_must_see_the_same(theirs: dict[str, float], expected: list[Ruling]) -> None:
    before, after = (
        result_of(success_rate=1, requests=20, output_tokens_per_s=value, tpot_mean=0.02)
        for value in (98, 102)
    )

    assert rulings(cross_check_findings(before, theirs, after, 0.3)) == expected


def test_of_a_service_that_is_not_steady_nothing_follows() -> None:
    before, after = (
        result_of(success_rate=1, requests=20, output_tokens_per_s=value, tpot_mean=0.02)
        for value in (100, 140)
    )

    assert rulings(cross_check_findings(before, SAME, after, 0.3)) == [PASS, PASS, OPEN, PASS]
