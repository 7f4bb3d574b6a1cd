from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from pdtest.embedded.engine.core import Core
from pdtest.embedded.engine.cores import Cores
from pdtest.embedded.engine.metrics import EngineCollector
from pdtest.embedded.engine.statistics import Gauges, Histogram, Statistics

from .conftest import CONFIG, SETTINGS, Start
from .sequences import run, sequence, text

#: Histograms by their sample names without the suffix; the others as they are. Those of vLLM 0.32.
NAMES = {
    "vllm:num_requests_running",
    "vllm:num_requests_waiting",
    "vllm:num_requests_kv_fetch_by_stage",
    "vllm:kv_cache_usage_perc",
    "vllm:num_preemptions_total",
    "vllm:prompt_tokens_total",
    "vllm:generation_tokens_total",
    "vllm:prompt_tokens_by_source_total",
    "vllm:prefix_cache_queries_total",
    "vllm:prefix_cache_hits_total",
    "vllm:external_prefix_cache_queries_total",
    "vllm:external_prefix_cache_hits_total",
    "vllm:request_success_total",
    "vllm:time_to_first_token_seconds",
    "vllm:inter_token_latency_seconds",
    "vllm:e2e_request_latency_seconds",
    "vllm:request_queue_time_seconds",
    "vllm:request_prefill_time_seconds",
    "vllm:request_decode_time_seconds",
    "vllm:request_inference_time_seconds",
    "vllm:request_prompt_tokens",
    "vllm:request_generation_tokens",
    "vllm:iteration_tokens_total",
    "vllm:cache_config_info",
    "pdtest:kv_tokens",
}


def samples(registry: CollectorRegistry) -> Iterator[tuple[str, dict[str, str], float]]:
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            yield sample.name, sample.labels, sample.value


def value(core: Core, name: str, **labels: str) -> float:
    """Of the one sample of that name with these labels."""
    (found,) = (
        seen
        for sample, has, seen in samples(core.rank.registry)
        if sample == name and labels.items() <= has.items()
    )
    return found


def test_all_names_and_labels_are_there_from_the_start() -> None:
    cores = Cores(replace(SETTINGS, data_ranks=2, prefix_caching=False), CONFIG)
    seen = list(samples(cores.registry))
    names = {name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") for name, _, _ in seen}
    assert names == NAMES
    for name, labels, number in seen:
        assert labels["engine"] in {"0", "1"}
        if name == "vllm:cache_config_info":
            assert number == 1
            assert labels["block_size"] == "4"
            assert labels["num_gpu_blocks"] == "64"
            assert labels["enable_prefix_caching"] == "False"
        else:
            assert labels["model_name"] == "small"
            assert number == 0
    of = {name: {tuple(sorted(labels.items())) for one, labels, _ in seen if one == name} for name in names}
    assert len(of["vllm:prompt_tokens_by_source_total"]) == 2 * 3
    assert len(of["vllm:request_success_total"]) == 2 * 5


async def test_a_request_counts(start: Start) -> None:
    core = await start()
    await run(core, sequence(text(10), 4))
    await run(core, sequence(text(10), 4, logit_bias={0: 100.0}))
    assert value(core, "vllm:prompt_tokens_total") == 20
    assert value(core, "vllm:generation_tokens_total") == 5
    assert value(core, "vllm:prompt_tokens_by_source_total", source="local_compute") == 12
    assert value(core, "vllm:prompt_tokens_by_source_total", source="local_cache_hit") == 8
    assert value(core, "vllm:prefix_cache_queries_total") == 20
    assert value(core, "vllm:prefix_cache_hits_total") == 8
    assert value(core, "vllm:external_prefix_cache_queries_total") == 0
    assert value(core, "vllm:request_success_total", finished_reason="length") == 1
    assert value(core, "vllm:request_success_total", finished_reason="stop") == 1
    for name, count in (
        ("time_to_first_token_seconds", 2),
        ("inter_token_latency_seconds", 3),
        ("e2e_request_latency_seconds", 2),
        ("request_queue_time_seconds", 2),
        ("request_prefill_time_seconds", 2),
        ("request_decode_time_seconds", 2),
        ("request_inference_time_seconds", 2),
        ("request_prompt_tokens", 2),
        ("request_generation_tokens", 2),
        ("iteration_tokens_total", 5),
    ):
        assert value(core, f"vllm:{name}_count") == count, name
    assert value(core, "vllm:request_prompt_tokens_sum") == 20
    assert value(core, "vllm:request_generation_tokens_sum") == 5
    assert value(core, "vllm:iteration_tokens_total_sum") == 12 + 5


async def test_a_request_whose_client_went_away_does_not_count(start: Start) -> None:
    core = await start()
    one = sequence(text(10), 100)
    core.submit(one)
    await one.steps.get()
    core.abort(one)
    assert value(core, "vllm:request_success_total", finished_reason="abort") == 0
    assert value(core, "vllm:e2e_request_latency_seconds_count") == 0
    assert value(core, "vllm:prompt_tokens_total") == 10


def test_gauges_are_those_of_the_moment() -> None:
    now = Gauges(running=3, waiting=4, loading=1, loaded=2, usage=0.25, kv_tokens=99, preemptions=5)
    registry = CollectorRegistry()
    rank = Statistics(gauges=lambda: now, max_model_len=512)
    registry.register(EngineCollector(SETTINGS, [rank]))
    seen = {(name, labels.get("stage")): number for name, labels, number in samples(registry)}
    assert seen["vllm:num_requests_running", None] == 3
    assert seen["vllm:num_requests_waiting", None] == 4
    assert seen["vllm:kv_cache_usage_perc", None] == 0.25
    assert seen["pdtest:kv_tokens", None] == 99
    assert seen["vllm:num_preemptions_total", None] == 5
    stages = {stage: number for (name, stage), number in seen.items() if "kv_fetch" in name}
    assert stages == {"waiting_to_start": 0, "in_progress": 1, "completed_waiting": 2}


def test_a_histogram_counts_up_to_each_bound() -> None:
    histogram = Histogram((1, 2.5))
    for one in (0.5, 1, 2, 7):
        histogram.observe(one)
    assert histogram.totals() == [("1.0", 2), ("2.5", 3), ("+Inf", 4)]
    assert histogram.sum == 10.5


@pytest.mark.parametrize(("longest", "last"), [(512, 500), (1000, 1000), (7, 5)])
def test_token_buckets_end_at_the_longest_context(longest: int, last: int) -> None:
    rank = Statistics(gauges=lambda: pytest.fail("not asked"), max_model_len=longest)
    bounds = [bound for bound, _ in rank.request_prompt_tokens.totals()]
    assert bounds[0] == "1.0"
    assert bounds[-2:] == [str(float(last)), "+Inf"]
