"""Verdicts on runs whose values are given."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from pdtest.compare import Comparison, Verdict, compare
from pdtest.compare.comparison import Change
from pdtest.environment.compare import Compare, Tolerance
from pdtest.errors import MissingExtra
from pdtest.results import Better
from tests.compare.made import STEADY, runs, scaled


def only(comparison: Comparison) -> Change:
    (change,) = comparison.changes
    return change


def test_a_clear_rise_of_a_latency_fails() -> None:
    comparison = compare(runs({"ttft_p50": STEADY}), runs({"ttft_p50": scaled(1.2)}))
    change = only(comparison)
    assert comparison.verdict is change.verdict is Verdict.FAIL
    assert comparison.why == "ttft_p50"
    assert change.relative == pytest.approx(0.2, abs=0.01)
    assert change.difference == pytest.approx(0.02, abs=0.001)
    assert change.p_worse == pytest.approx(1 / 252)
    assert change.interval is not None
    assert change.interval[0] < 0.02 < change.interval[1]
    assert change.why == "20 % worse, p 0.004"


def test_a_clear_fall_of_a_throughput_fails_and_of_a_latency_is_an_improvement() -> None:
    old, new = {"output_tokens_per_s": scaled(1000)}, {"output_tokens_per_s": scaled(800)}
    rate: dict[str, Any] = {"better": Better.HIGHER, "unit": "tokens/s"}
    assert compare(runs(old, **rate), runs(new, **rate)).verdict is Verdict.FAIL
    assert compare(runs(new, **rate), runs(old, **rate)).verdict is Verdict.IMPROVED
    faster = compare(runs({"ttft_p50": STEADY}), runs({"ttft_p50": scaled(0.7)}))
    assert faster.verdict is Verdict.IMPROVED
    assert only(faster).why == "30 % better, p 0.004"


def test_a_certain_change_within_the_tolerance_passes() -> None:
    change = only(compare(runs({"ttft_p50": STEADY}), runs({"ttft_p50": scaled(1.08)})))
    assert change.p_worse == pytest.approx(1 / 252)
    assert change.verdict is Verdict.PASS
    assert change.why.startswith("at most ")


def test_a_large_share_of_next_to_nothing_passes() -> None:
    # Twice as long, but 0.2 ms: beyond the tolerance, below the floor of half a millisecond.
    tiny = scaled(0.002)
    change = only(compare(runs({"tbt_p50": tiny}), runs({"tbt_p50": scaled(2, tiny)})))
    assert change.relative == pytest.approx(1.0, abs=0.05)
    assert change.verdict is Verdict.PASS


def test_the_same_beyond_the_floor_fails() -> None:
    settings = Compare(tolerances={"tbt_*": Tolerance(floor=0.0)})
    tiny = scaled(0.002)
    change = only(compare(runs({"tbt_p50": tiny}), runs({"tbt_p50": scaled(2, tiny)}), settings))
    assert change.verdict is Verdict.FAIL


def test_a_rise_that_noise_could_be_is_no_failure_and_no_pass() -> None:
    noisy = [0.07, 0.13, 0.09, 0.11, 0.1]
    change = only(compare(runs({"ttft_p50": noisy}), runs({"ttft_p50": scaled(1.15, noisy)})))
    assert change.verdict is Verdict.INCONCLUSIVE
    assert change.why.endswith("worse: noise")


def test_equal_runs_pass() -> None:
    comparison = compare(runs({"ttft_p50": STEADY}), runs({"ttft_p50": STEADY}))
    assert comparison.verdict is Verdict.PASS
    assert comparison.why == "1 measure held"


@pytest.mark.parametrize("count", [1, 2])
def test_runs_too_few_to_fail_do_not_pass_either(count: int) -> None:
    change = only(compare(runs({"ttft_p50": STEADY[:count]}), runs({"ttft_p50": STEADY[:count]})))
    assert change.verdict is Verdict.INCONCLUSIVE
    assert change.why == f"too few runs: {count} and {count}"


def test_with_five_runs_twelve_measures_can_be_told_and_not_thirteen() -> None:
    def verdict(count: int) -> Verdict:
        old = {f"m{number}": STEADY for number in range(count)}
        new = {**old, "m0": scaled(1.5)}
        return compare(runs(old), runs(new), Compare(judged=("m*",))).verdict

    assert verdict(12) is Verdict.FAIL
    assert verdict(13) is Verdict.INCONCLUSIVE


def test_shares_are_judged_by_points() -> None:
    def verdict(value: float) -> Verdict | None:
        old, new = {"success_rate": [1.0] * 5}, {"success_rate": [value] * 5}
        share: dict[str, Any] = {"better": Better.HIGHER, "unit": "1"}
        return only(compare(runs(old, **share), runs(new, **share))).verdict

    assert verdict(0.995) is Verdict.PASS
    assert verdict(0.98) is Verdict.FAIL


def test_from_nothing_to_something_fails_though_no_share_can_be_told() -> None:
    settings = Compare(judged=("errors",))
    change = only(
        compare(runs({"errors": [0.0] * 5}, unit="1"), runs({"errors": [0.05] * 5}, unit="1"), settings)
    )
    assert change.verdict is Verdict.FAIL
    assert change.relative is None
    assert change.relative_interval is None
    assert change.why == "5 % worse, p 0.004"


def test_measures_that_are_not_judged_are_shown_last_without_a_verdict() -> None:
    old = {"ttft_max": STEADY, "ttft_p50": STEADY}
    comparison = compare(runs(old), runs({"ttft_max": scaled(9), "ttft_p50": STEADY}))
    assert [change.measure for change in comparison.changes] == ["ttft_p50", "ttft_max"]
    assert comparison.changes[1].verdict is None
    assert comparison.changes[1].p_worse == pytest.approx(1 / 252)
    assert comparison.verdict is Verdict.PASS


def test_what_is_only_told_is_not_judged_even_where_it_is_asked_for() -> None:
    told = runs({"concurrency": STEADY}, better=Better.NEITHER)
    comparison = compare(told, told, Compare(judged=("*",)))
    assert comparison.verdict is Verdict.INCONCLUSIVE
    assert not only(comparison).judged


def test_a_measure_that_only_one_side_has_leaves_it_open() -> None:
    comparison = compare(
        runs({"ttft_p50": STEADY, "e2e_p50": STEADY}), runs({"ttft_p50": STEADY, "e2e_p50": [None] * 5})
    )
    assert comparison.verdict is Verdict.INCONCLUSIVE
    assert comparison.why == "e2e_p50"
    assert comparison.changes[0].why == "measured in the old runs only"


def test_a_measure_that_neither_side_has_is_left_out() -> None:
    none = runs({"ttft_p50": STEADY, "energy_per_token": [None] * 5})
    assert [change.measure for change in compare(none, none).changes] == ["ttft_p50"]


def test_runs_bound_by_their_client_are_left_out_and_counted() -> None:
    # The invalid run would have made the difference: it is ten times as slow.
    new = runs({"ttft_p50": [1.0, *STEADY]}, invalid=1)
    comparison = compare(runs({"ttft_p50": STEADY}), new)
    assert comparison.verdict is Verdict.PASS
    assert (comparison.new.runs, comparison.new.invalid) == (5, 1)
    assert comparison.new.reasons == ("its event loop was late",)
    assert max(only(comparison).new) < 0.2


def test_where_all_runs_are_bound_by_their_client_nothing_is_compared() -> None:
    comparison = compare(
        runs({"ttft_p50": STEADY}), runs({"ttft_p50": scaled(5)}, invalid=5), names=("a", "b")
    )
    assert comparison.verdict is Verdict.INVALID
    assert comparison.why == "all runs of b were bound by their client"
    assert comparison.changes == ()


def test_other_conditions_are_named_and_leave_it_open() -> None:
    old = runs({"ttft_p50": STEADY}, conditions={"hardware": {"cores": 4, "processor": "x"}})
    new = runs(
        {"ttft_p50": scaled(2)},
        fingerprint="e" * 16,
        conditions={"hardware": {"cores": 2, "processor": "x"}},
    )
    comparison = compare(old, new)
    assert comparison.verdict is Verdict.INCONCLUSIVE
    assert comparison.differs == (("hardware.cores", "4", "2"),)
    assert compare(old, new, same_conditions=False).verdict is Verdict.FAIL


def test_what_one_session_of_the_baseline_was_off_by_is_no_failure() -> None:
    # Two nights, 15 % apart; tonight is like the slower one.
    nights = [*runs({"ttft_p50": STEADY}, run="first"), *runs({"ttft_p50": scaled(1.15)}, run="second")]
    tonight = runs({"ttft_p50": scaled(1.19)}, run="tonight")
    comparison = compare(nights, tonight)
    assert comparison.verdict is Verdict.INCONCLUSIVE
    assert only(comparison).why == "worse, but not against every session"
    # Against the fast night alone, or far from both, it is a failure.
    assert compare(nights[:5], tonight).verdict is Verdict.FAIL
    assert compare(nights, runs({"ttft_p50": scaled(1.4)}, run="tonight")).verdict is Verdict.FAIL


def test_an_improvement_must_be_one_against_every_session_too() -> None:
    nights = [*runs({"ttft_p50": STEADY}, run="first"), *runs({"ttft_p50": scaled(1.3)}, run="second")]
    assert compare(nights, runs({"ttft_p50": scaled(0.95)}, run="third")).verdict is Verdict.PASS
    assert compare(nights, runs({"ttft_p50": scaled(0.8)}, run="third")).verdict is Verdict.IMPROVED


def test_a_comparison_is_json_and_back() -> None:
    comparison = compare(runs({"ttft_p50": STEADY}), runs({"ttft_p50": scaled(1.2)}))
    assert Comparison.model_validate_json(comparison.model_dump_json()) == comparison


def test_without_numpy_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    for name in [name for name in sys.modules if name.startswith("pdtest.compare.")]:
        if name.rpartition(".")[2] in {"evidence", "ranks", "holm", "effect"}:
            monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingExtra, match="numpy") as caught:
        compare(runs({"ttft_p50": STEADY}), runs({"ttft_p50": STEADY}))
    assert "pdtest[compare]" in str(caught.value)
