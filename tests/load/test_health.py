from __future__ import annotations

import dataclasses

import pytest

from pdtest.environment.workload import ClientLimits, Workload
from pdtest.load.health import client_health
from pdtest.load.layout import lay_out
from pdtest.load.report import Report
from pdtest.load.steady import steady_window
from pdtest.results import ClientHealth, Exchange

GOOD = Report(worker=0, rows=(), lags_s=(0.0005,) * 100, cpu_s=2.0, lasted_s=10.0, events=1000, coalesced=100)


def exchange(
    sent_s: float, took_s: float, *, due_s: float | None = None, error: str | None = None
) -> Exchange:
    return Exchange(
        number=0,
        request_id="r",
        due_s=due_s,
        sent_s=sent_s,
        first_byte_s=None,
        pieces=(),
        ended_s=sent_s + took_s,
        prompt_tokens=1,
        max_tokens=1,
        completion_tokens=1,
        finish_reason=None,
        status=200,
        error=None,
    )


def health(*reports: Report, late_s: float = 0.001) -> ClientHealth:
    exchanges = [exchange(number + late_s, 1.0, due_s=float(number)) for number in range(100)]
    return client_health(reports, exchanges, ClientLimits(), concurrency=None, steady_s=None)


def test_a_client_that_kept_up_is_valid() -> None:
    judged = health(GOOD)
    assert judged.valid
    assert judged.loop_lag_p99_s == 0.0005
    assert judged.schedule_lag_p99_s == pytest.approx(0.001)
    assert judged.cpu_share == pytest.approx(0.2)
    assert judged.coalesced_share == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"lags_s": (0.0,) * 98 + (0.03, 0.03)}, "event loop was 30.0 ms late"),
        ({"cpu_s": 9.0}, "90% of a core"),
        ({"cpu_s": 6.0, "coalesced": 600}, "the events came together"),
    ],
)
def test_the_worst_process_counts(bad: dict[str, object], reason: str) -> None:
    worse = dataclasses.replace(GOOD, worker=1, **bad)  # type: ignore[arg-type]
    (said,) = health(GOOD, dataclasses.replace(worse, coalesced=2 * worse.coalesced)).reasons
    assert reason in said


def test_one_late_look_in_a_hundred_is_none() -> None:
    assert health(dataclasses.replace(GOOD, lags_s=(0.0,) * 99 + (0.5,))).valid


def test_events_that_come_together_in_an_idle_client_were_sent_so() -> None:
    assert health(dataclasses.replace(GOOD, coalesced=1000)).valid


def test_requests_that_are_sent_late_make_it_invalid() -> None:
    (said,) = health(GOOD, late_s=0.05).reasons
    assert "sent 50.0 ms late" in said


def test_a_closed_loop_must_have_its_users_at_work() -> None:
    exchanges = [exchange(float(number), 0.5) for number in range(20)]
    judged = client_health([GOOD], exchanges, ClientLimits(), concurrency=1, steady_s=(0.0, 20.0))
    assert judged.concurrency_seen == pytest.approx(0.5)
    assert judged.reasons == ("0.5 requests were under way, 1 were wanted",)
    full = [exchange(float(number), 1.0) for number in range(20)]
    assert client_health([GOOD], full, ClientLimits(), concurrency=1, steady_s=(0.0, 20.0)).valid


@pytest.mark.parametrize(
    ("arrivals", "window"),
    [
        ({"pattern": "closed", "concurrency": 3}, (2.0, 9.0)),
        ({"pattern": "constant", "rate": 1}, (2.5, 9.0)),
        ({"pattern": "ramp", "from_rate": 1, "to_rate": 2}, None),
    ],
)
def test_the_steady_window(arrivals: dict[str, object], window: tuple[float, float] | None) -> None:
    workload = Workload.model_validate({"arrivals": arrivals, "requests": 10})
    plan = lay_out(workload, vocab_size=100, max_model_len=1000)
    open_loop = plan.concurrency is None
    exchanges = [exchange(float(n), 2.5, due_s=float(n) if open_loop else None) for n in range(10)]
    assert steady_window(plan, exchanges) == window
    assert steady_window(plan, exchanges[:1]) is None
