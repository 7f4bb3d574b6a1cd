from __future__ import annotations

import pytest
from pydantic import ValidationError

from pdtest.compare.tolerances import tolerated
from pdtest.environment.compare import HEADLINE, Compare, Tolerance
from pdtest.results import Measure


def limit(name: str, unit: str = "s", **settings: object) -> tuple[float, float]:
    found = tolerated(Measure(name=name, value=1.0, unit=unit), Compare.model_validate(settings))
    return found.share, found.floor


def test_five_runs_a_side_can_tell_all_measures_that_are_judged_by_default() -> None:
    # 1 / 252 is the smallest p of five against five.
    assert len(HEADLINE) / 252 <= Compare().alpha


def test_measures_are_judged_by_name_or_pattern() -> None:
    chosen = Compare(judged=("ttft_*", "goodput"))
    judged = [name for name in ("ttft_p50", "goodput", "goodput_share") if chosen.is_judged(name)]
    assert judged == ["ttft_p50", "goodput"]


def test_what_is_not_said_is_the_units_default() -> None:
    assert limit("ttft_p50") == (0.1, 0.0005)
    assert limit("success_rate", "1") == (0.0, 0.01)
    assert limit("something", "of its own") == (0.1, 0.0)
    assert limit("ttft_p50", tolerances={"ttft_*": {"floor": 0.01}}) == (0.1, 0.01)


def test_a_full_name_wins_and_then_the_first_pattern() -> None:
    tolerances = {"*": {"share": 0.3}, "ttft_*": {"share": 0.2}, "ttft_p99": {"share": 0.5}}
    assert [limit(name, tolerances=tolerances)[0] for name in ("ttft_p99", "ttft_p50")] == [0.5, 0.3]


@pytest.mark.parametrize("bad", [{"alpha": 0.0}, {"alpha": 0.9}, {"judged": ()}, {"runs": 5}])
def test_settings_that_make_no_sense_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Compare.model_validate(bad)
    with pytest.raises(ValidationError):
        Tolerance(share=-0.1)
