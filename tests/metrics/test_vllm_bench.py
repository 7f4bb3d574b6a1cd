"""The export, held against vLLM's own definitions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pdtest.metrics.vllm_bench import as_vllm_bench
from pdtest.results import ClientHealth, Result

from .streams import exchange

#: What ``vllm bench serve --save-result --save-detailed`` of 0.32 writes of any load, less what no reader of
#: results uses: date, generated texts, the client's own queue.
KEYS = {
    *("backend", "endpoint_type", "label", "model_id", "tokenizer_id", "num_prompts", "request_rate"),
    *("burstiness", "max_concurrency", "duration", "completed", "failed", "total_input_tokens"),
    *("total_output_tokens", "request_throughput", "request_goodput", "output_throughput"),
    *("total_token_throughput", "input_lens", "output_lens", "ttfts", "itls", "latencies", "start_times"),
    *("errors",),
    *(
        f"{statistic}_{quantity}_ms"
        for statistic in ("mean", "median", "std", "p99")
        for quantity in ("ttft", "tpot", "itl", "e2el")
    ),
}

EXCHANGES = [
    exchange((1.0, 1), (1.5, 1), (2.0, 1), due_s=0.0, sent_s=0.5, prompt_tokens=10, usage=3),
    exchange((2.0, 1), (4.0, 1), due_s=1.0, sent_s=1.0, prompt_tokens=20, usage=2),
    exchange((2.0, 1), due_s=1.0, sent_s=1.0, prompt_tokens=5, error="it broke off"),
]


@pytest.fixture
def exported() -> dict[str, Any]:
    health = ClientHealth(processes=1, loop_lag_p99_s=0, schedule_lag_p99_s=0, cpu_share=0, coalesced_share=0)
    result = Result(
        run="run",
        environment="embedded",
        fingerprint="f",
        label="default-pd-0",
        workload={"arrivals": {"pattern": "poisson", "rate": 2.0}},
        begun_unix_s=0,
        begun_monotonic_s=100,
        lasted_s=5,
        steady_s=None,
        client=health,
        measures=(),
    )
    read: dict[str, Any] = json.loads(as_vllm_bench(result, EXCHANGES, model="tiny"))
    return read


def test_it_has_the_keys_of_vllm(exported: dict[str, Any]) -> None:
    assert set(exported) == KEYS


def test_rates_are_over_what_was_answered(exported: dict[str, Any]) -> None:
    assert (exported["completed"], exported["failed"], exported["num_prompts"]) == (2, 1, 3)
    assert (exported["total_input_tokens"], exported["total_output_tokens"]) == (30, 5)
    assert exported["request_throughput"] == pytest.approx(2 / 5)
    assert exported["output_throughput"] == pytest.approx(1.0)
    assert exported["total_token_throughput"] == pytest.approx(7.0)
    assert exported["request_rate"] == 2.0


def test_times_count_from_when_requests_were_sent(exported: dict[str, Any]) -> None:
    assert exported["mean_ttft_ms"] == pytest.approx((500 + 1000) / 2)
    assert exported["mean_e2el_ms"] == pytest.approx((1500 + 3000) / 2)
    assert exported["mean_tpot_ms"] == pytest.approx((500 + 2000) / 2)
    assert exported["median_itl_ms"] == pytest.approx(500)
    assert exported["p99_itl_ms"] == pytest.approx(500 + 0.98 * 1500)
    assert exported["itls"][0] == [0.5, 0.5]
    assert exported["start_times"][0] == pytest.approx(100.5)


def test_what_failed_has_no_length_and_an_error(exported: dict[str, Any]) -> None:
    assert exported["output_lens"] == [3, 2, 0]
    assert exported["errors"] == ["", "", "it broke off"]
