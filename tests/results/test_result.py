"""What a load left behind, written and read again."""

from __future__ import annotations

from pathlib import Path

import pytest

from pdtest.results import (
    Better,
    ClientHealth,
    Exchange,
    Measure,
    Monitor,
    Piece,
    Reading,
    Result,
    ResultUnreadable,
    read_exchanges,
    read_monitor,
    read_result,
    read_results,
    write_result,
)

HEALTH = ClientHealth(
    processes=1, loop_lag_p99_s=0.001, schedule_lag_p99_s=0.001, cpu_share=0.1, coalesced_share=0.0
)


def result(label: str, *, begun: float) -> Result:
    """A result of a run."""
    return Result(
        run="20261121-000000-abcdef",
        environment="embedded",
        fingerprint="f" * 16,
        label=label,
        workload={"requests": 1},
        begun_unix_s=begun,
        begun_monotonic_s=begun,
        lasted_s=1.5,
        steady_s=(0.5, 1.0),
        client=HEALTH,
        measures=(Measure(name="ttft_mean", value=0.25, unit="s", better=Better.LOWER, samples=1),),
        monitors=("cpu",),
    )


def exchange(number: int) -> Exchange:
    """An answer of two tokens."""
    return Exchange(
        number=number,
        request_id=f"r{number}",
        due_s=0.5,
        sent_s=0.625,
        first_byte_s=0.75,
        pieces=(Piece(at_s=0.75, tokens=1, read=0), Piece(at_s=1.0, tokens=1, read=1)),
        ended_s=1.125,
        prompt_tokens=16,
        max_tokens=2,
        completion_tokens=2,
        finish_reason="length",
        status=200,
        error=None,
    )


def test_everything_comes_back_as_it_was(tmp_path: Path) -> None:
    monitor = Monitor(
        kind="cpu",
        name="cpu",
        every_s=0.1,
        true_every_s=0.1,
        units={"utilisation": "1"},
        readings=(Reading(at_s=0.1, values={"utilisation": 0.5}),),
        missing={"power_w": "no powercap"},
    )
    folder = tmp_path / "embedded" / "loads" / "a"

    write_result(folder, result("a", begun=1), [exchange(0), exchange(1)], [monitor])

    assert [*read_results(tmp_path)] == [(folder, result("a", begun=1))]
    assert [*read_exchanges(folder)] == [exchange(0), exchange(1)]
    assert read_monitor(folder, "cpu") == monitor


def test_results_come_in_the_order_they_were_measured(tmp_path: Path) -> None:
    for label, begun in (("a", 2.0), ("b", 1.0)):
        write_result(tmp_path / label, result(label, begun=begun), [])

    assert [one.label for _, one in read_results(tmp_path)] == ["b", "a"]


def test_a_file_of_another_version_is_refused(tmp_path: Path) -> None:
    path = write_result(tmp_path, result("a", begun=1), [])
    path.write_text(path.read_text().replace('"version": 1', '"version": 2'))

    with pytest.raises(ResultUnreadable) as refused:
        [*read_results(tmp_path)]
    assert refused.value.where == str(path)
    assert refused.value.seen == "Input should be 1"


def test_half_a_file_is_refused(tmp_path: Path) -> None:
    path = write_result(tmp_path, result("a", begun=1), [])
    path.write_text(path.read_text()[:100])

    with pytest.raises(ResultUnreadable, match="cannot be read"):
        read_result(path)


def test_a_request_without_a_time_of_its_own_counts_from_when_it_was_sent() -> None:
    assert exchange(0).scheduled_s == pytest.approx(0.5)
    assert exchange(0).model_copy(update={"due_s": None}).scheduled_s == pytest.approx(0.625)


def test_a_measure_is_found_by_name() -> None:
    found = result("a", begun=1).measure("ttft_mean")

    assert found is not None
    assert found.value == pytest.approx(0.25)
    assert result("a", begun=1).measure("tbt_mean") is None
