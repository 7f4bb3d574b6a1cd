from __future__ import annotations

import itertools
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from pdtest.environment.arrivals import Arrivals
from pdtest.load.arrival import due_times, in_clusters

ARRIVALS: TypeAdapter[Arrivals] = TypeAdapter(Arrivals)
OPEN = st.sampled_from(
    [
        {"pattern": "constant", "rate": 5.0},
        {"pattern": "poisson", "rate": 5.0},
        {"pattern": "gamma", "rate": 5.0, "burstiness": 0.3},
        {"pattern": "burst", "size": 7, "every_s": 1.5},
        {"pattern": "ramp", "from_rate": 0.0, "to_rate": 10.0},
        {"pattern": "ramp", "from_rate": 8.0, "to_rate": 2.0, "random": False},
        {"pattern": "ramp", "from_rate": 5.0, "to_rate": 5.0},
    ]
)


def times(pattern: dict[str, object], **ends: float | None) -> tuple[float, ...]:
    due = due_times(
        ARRIVALS.validate_python(pattern),
        requests=None if ends.get("requests") is None else int(ends["requests"] or 0),
        duration_s=ends.get("duration_s"),
        seed=int(ends.get("seed") or 1),
    )
    assert due is not None
    return due


@settings(deadline=None)
@given(OPEN, st.integers(1, 200), st.integers())
def test_so_many_requests_in_order_from_the_beginning_on(
    pattern: dict[str, object], requests: int, seed: int
) -> None:
    due = times(pattern, requests=requests, seed=seed)
    assert len(due) == requests
    assert list(due) == sorted(due)
    assert due[0] == 0
    assert due == times(pattern, requests=requests, seed=seed)


@settings(deadline=None)
@given(OPEN, st.floats(0.5, 60), st.integers())
def test_a_duration_ends_it(pattern: dict[str, object], duration_s: float, seed: int) -> None:
    due = times(pattern, duration_s=duration_s, seed=seed)
    assert due[-1] <= duration_s + 1e-9
    few = times(pattern, duration_s=duration_s, requests=3, seed=seed)
    assert len(few) == min(3, len(due))


def test_rates_are_those_asked_for() -> None:
    for name in ("constant", "poisson"):
        assert len(times({"pattern": name, "rate": 20.0}, duration_s=30.0)) == 600
    assert times({"pattern": "constant", "rate": 4.0}, requests=4) == (0.0, 0.25, 0.5, 0.75)


@pytest.mark.parametrize(
    ("burstiness", "least", "most"), [(0.25, 1.7, 2.3), (1.0, 0.9, 1.1), (16.0, 0.2, 0.3)]
)
def test_burstiness_is_the_shape_of_the_gaps(burstiness: float, least: float, most: float) -> None:
    due = in_clusters(4000, 4000.0, burstiness=burstiness, seed=5)
    gaps = [later - earlier for earlier, later in itertools.pairwise(due)]
    assert least < statistics.stdev(gaps) / statistics.fmean(gaps) < most, "1 / sqrt(shape)"


def test_bursts_come_together() -> None:
    due = times({"pattern": "burst", "size": 3, "every_s": 2.0}, requests=8)
    assert due == (0.0, 0.0, 0.0, 2.0, 2.0, 2.0, 4.0, 4.0)
    assert len(times({"pattern": "burst", "size": 3, "every_s": 2.0}, duration_s=5.0)) == 9


def test_a_ramp_grows_steadily() -> None:
    ramp: dict[str, object] = {"pattern": "ramp", "from_rate": 10.0, "to_rate": 30.0, "random": False}
    due = times(ramp, duration_s=10.0)
    assert len(due) == 200
    counts = [sum(second <= at < second + 1 for at in due) for second in range(10)]
    assert counts == pytest.approx([11, 13, 15, 17, 19, 21, 23, 25, 27, 29], abs=1)


def test_answers_decide_in_a_closed_loop() -> None:
    closed = ARRIVALS.validate_python({"pattern": "closed", "concurrency": 2})
    assert due_times(closed, requests=5, duration_s=None, seed=1) is None
