from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from pdtest.results import Monitor
from pdtest.telemetry.meter import Offer, Seen
from pdtest.telemetry.monitors import monitors_of
from pdtest.telemetry.records import FILE, Cost, Row, cost_line, offer_line, row_line

GPU = Offer(
    name="nvidia0",
    kind="nvidia",
    members=("prefill",),
    every_s=0.1,
    quantities=("power_w", "utilisation"),
    missing={"memory_clock_mhz": "NVML: Not Supported"},
)


def row(at_s: float, values: Mapping[str, float], missing: Mapping[str, str] | None = None) -> str:
    return row_line(Row(at_s=at_s, name="nvidia0", seen=Seen(values=values, missing=missing or {})))


def told(tmp_path: Path, *lines: str, span: tuple[float, float] = (100.0, 101.0)) -> Monitor:
    path = tmp_path / FILE
    path.write_text(offer_line(GPU) + "".join(lines))
    (one,) = monitors_of(path, *span)
    return one


def steady(begin_s: float, count: int, values: Mapping[str, float]) -> list[str]:
    return [row(begin_s + n * 0.1, values) for n in range(count)]


BOTH = {"power_w": 400.0, "utilisation": 0.5}


def test_a_load_is_cut_out_with_a_neighbour_on_each_side(tmp_path: Path) -> None:
    one = told(tmp_path, *steady(99.05, 40, BOTH))
    assert [reading.at_s for reading in one.readings] == pytest.approx(
        [-0.05, *(0.05 + n * 0.1 for n in range(10)), 1.05]
    )
    assert one.true_every_s == pytest.approx(0.1)
    assert one.units == {"power_w": "W", "utilisation": "1"}
    assert one.missing == {"memory_clock_mhz": "NVML: Not Supported"}


def test_the_true_rate_is_told(tmp_path: Path) -> None:
    one = told(tmp_path, *[row(100 + n * 0.25, BOTH) for n in range(5)])
    assert one.every_s == 0.1
    assert one.true_every_s == pytest.approx(0.25)


def test_a_reading_long_before_is_no_neighbour(tmp_path: Path) -> None:
    one = told(tmp_path, row(90.0, BOTH), row(100.5, BOTH))
    assert [reading.at_s for reading in one.readings] == [0.5]
    assert one.true_every_s is None


def test_what_never_came_says_why(tmp_path: Path) -> None:
    lines = [row(100 + n / 10, {"power_w": 400.0}, {"utilisation": "NVML: Unknown Error"}) for n in range(5)]
    one = told(tmp_path, *lines)
    assert one.missing["utilisation"] == "NVML: Unknown Error"
    assert "utilisation" not in one.units


def test_what_came_at_times_says_how_often_not(tmp_path: Path) -> None:
    failed = row(100.35, {"power_w": 400.0}, {"utilisation": "NVML: Unknown Error"})
    one = told(tmp_path, *steady(100.0, 3, BOTH), failed)
    assert one.missing["utilisation"] == "1 of 4 readings failed: NVML: Unknown Error"
    assert one.units.keys() == {"power_w", "utilisation"}


def test_a_source_that_failed_altogether_is_missing_altogether(tmp_path: Path) -> None:
    one = told(tmp_path, *[row(100 + n / 10, {}, {"*": "Connection refused"}) for n in range(5)])
    assert one.missing["*"] == "Connection refused"
    assert one.readings == ()


def test_a_source_that_failed_at_times_is_not_missing_altogether(tmp_path: Path) -> None:
    one = told(tmp_path, *steady(100.0, 3, BOTH), row(100.4, {}, {"*": "Connection reset"}))
    assert "*" not in one.missing
    assert one.missing["readings"] == "1 of 4 readings failed: Connection reset"
    assert len(one.readings) == 3


def test_without_a_reading_that_is_said(tmp_path: Path) -> None:
    assert told(tmp_path).missing["*"] == "no reading came while the load ran"


def test_looking_that_ended_early_is_said_and_what_came_is_kept(tmp_path: Path) -> None:
    path = tmp_path / FILE
    path.write_text(offer_line(GPU) + "".join(steady(100.0, 3, BOTH)))
    (one,) = monitors_of(path, 100.0, 101.0, died="killed")
    assert one.missing["*"] == "killed"
    assert len(one.readings) == 3


def test_half_a_line_is_not_read(tmp_path: Path) -> None:
    one = told(tmp_path, *steady(100.0, 3, BOTH), row(100.4, BOTH)[:20])
    assert len(one.readings) == 3


def test_the_cost_is_that_of_the_span(tmp_path: Path) -> None:
    costs = [
        Cost(at_s=99.0, cpu_s=5.0),  # coming up
        Cost(at_s=99.9, cpu_s=5.0),
        Cost(at_s=101.9, cpu_s=5.02),
        Cost(at_s=102.0, cpu_s=9.0),
    ]
    one = told(tmp_path, *map(cost_line, costs))
    assert one.cost_cpu_share == pytest.approx(0.01)
    assert told(tmp_path).cost_cpu_share is None
