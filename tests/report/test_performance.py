"""Tables of loads."""

from __future__ import annotations

import pytest

from pdtest.metrics.knee import Knee
from pdtest.report.performance import SHOWN, WIDTH, cross_check, knee_line, one_line, side_by_side, steps
from pdtest.results import Better, ClientHealth, Measure, Result


def result(**values: float | None) -> Result:
    units = {"success_rate": "1", "goodput_share": "1", "energy": "J", "kv_transfer_bytes_mean": "bytes"}
    return Result(
        run="run",
        environment="a-quite-long-name-of-an-environment",
        fingerprint="f",
        label="default-pd-0",
        workload={"name": "default"},
        begun_unix_s=0,
        begun_monotonic_s=0,
        lasted_s=2.5,
        steady_s=None,
        client=ClientHealth(
            processes=1,
            loop_lag_p99_s=0,
            schedule_lag_p99_s=0,
            cpu_share=0,
            coalesced_share=0,
        ),
        measures=tuple(
            Measure(
                name=name,
                value=value,
                unit=units.get(name, "s" if name.endswith(("mean", "p50")) else "tokens/s"),
                better=Better.LOWER,
                why=None if value is not None else "no package under /sys/class/powercap",
            )
            for name, value in values.items()
        ),
    )


def bound(**values: float | None) -> Result:
    """By its client."""
    valid = result(**values)
    return valid.model_copy(update={"client": valid.client.model_copy(update={"reasons": ("late",)})})


EVERYTHING = dict.fromkeys((*SHOWN, "ttft_from_sent_mean", "e2e_from_sent_mean"), 123456.789)


def test_everything_fits_into_80_columns() -> None:
    every = result(**EVERYTHING)

    shown = [
        side_by_side({"single": [every], "pd": [every, every]}, None),
        steps("sweep", "requests/s", [("123.456", [every])]),
        cross_check(every, {"mean_ttft_ms": 123456.0}, every),
    ]

    for text in shown:
        assert max(map(len, text.splitlines())) <= WIDTH


def test_sides_are_beside_each_other_by_their_medians() -> None:
    single = [result(ttft_mean=value) for value in (0.1, 0.2, 5.0)]
    text = side_by_side({"single": single, "pd": [result(ttft_mean=1.25)]}, None)

    (row,) = [line for line in text.splitlines() if line.startswith("ttft_mean")]
    assert row.split() == ["ttft_mean", "200", "ms", "1.25", "s"]


def test_a_run_bound_by_its_client_is_counted_and_not_shown() -> None:
    text = side_by_side({"pd": [result(ttft_mean=0.1), bound(ttft_mean=9.0)]}, None)

    assert "100 ms" in text
    assert "2 (1 INVALID, bound by their client)" in text


def test_a_step_whose_client_was_bound_has_no_numbers() -> None:
    text = steps("rates", "requests/s", [("4", [result(ttft_mean=0.1)]), ("8", [bound(ttft_mean=1)])])

    (row,) = [line for line in text.splitlines() if line.startswith("8")]
    assert row.split() == ["8", "INVALID", "-"]


def test_what_could_not_be_measured_is_named_once() -> None:
    text = side_by_side({"pd": [result(ttft_mean=0.1, energy=None)] * 3}, None)

    assert text.count("no energy: no package under /sys/class/powercap") == 1
    assert "energy  " not in text


@pytest.mark.parametrize(
    ("knee", "words"),
    [
        (Knee(rate=16, broke=19.0), "it holds 16 requests/s, and does not hold 19"),
        (Knee(rate=64, broke=None), "it holds 64 requests/s, and no more was tried"),
        (Knee(rate=None, broke=4), "it does not hold even 4 requests/s"),
    ],
)
def test_the_knee_in_words(knee: Knee, words: str) -> None:
    assert words in knee_line(knee)


def test_a_load_in_one_line() -> None:
    assert one_line(result(success_rate=1.0, ttft_mean=0.25)) == (
        "default-pd-0: 2.5 s, success_rate 100 %, ttft_mean 250 ms"
    )
    assert "INVALID, bound by its client" in one_line(bound(success_rate=1.0))
