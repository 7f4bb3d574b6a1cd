"""vLLM's metrics: names, labels and buckets as of 0.32 (v1/metrics/loggers.py).

Made from a rank's `Statistics` when somebody asks. All label values are there from the start, at 0, as with
vLLM: a counter that is absent proves nothing to who reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from pdtest.embedded.engine.settings import Settings
from pdtest.embedded.engine.statistics import Gauges, Histogram, Statistics

_COUNTERS: Final[Mapping[str, tuple[str, Callable[[Statistics], int]]]] = {
    "vllm:prefix_cache_queries": ("Prompt tokens looked up in the prefix cache.", lambda s: s.queries),
    "vllm:prefix_cache_hits": ("Prompt tokens found in the prefix cache.", lambda s: s.hits),
    "vllm:external_prefix_cache_queries": (
        "Prompt tokens asked of the connector.",
        lambda s: s.external_queries,
    ),
    "vllm:external_prefix_cache_hits": (
        "Prompt tokens promised by the connector.",
        lambda s: s.external_hits,
    ),
    "vllm:num_preemptions": ("Sequences that lost their blocks to others.", lambda s: s.gauges().preemptions),
    "vllm:prompt_tokens": (
        "Prompt tokens of requests that got their first token.",
        lambda s: s.prompt_tokens,
    ),
    "vllm:generation_tokens": ("Tokens generated.", lambda s: s.generation_tokens),
}

_GAUGES: Final[Mapping[str, tuple[str, Callable[[Gauges], float]]]] = {
    "vllm:num_requests_running": ("Sequences that are computed.", lambda g: g.running),
    "vllm:num_requests_waiting": ("Sequences that wait for their turn or for KV.", lambda g: g.waiting),
    "vllm:kv_cache_usage_perc": ("Share of the KV blocks in use; 1 is all.", lambda g: g.usage),
    "pdtest:kv_tokens": ("Tokens whose KV is in use.", lambda g: g.kv_tokens),
}

_HISTOGRAMS: Final[Mapping[str, tuple[str, Callable[[Statistics], Histogram]]]] = {
    "vllm:time_to_first_token_seconds": ("From arrival to the first token.", lambda s: s.time_to_first_token),
    "vllm:inter_token_latency_seconds": ("From one token to the next.", lambda s: s.inter_token_latency),
    "vllm:e2e_request_latency_seconds": ("From arrival to the end.", lambda s: s.e2e_request_latency),
    "vllm:request_queue_time_seconds": ("From arrival to the first step.", lambda s: s.queue_time),
    "vllm:request_prefill_time_seconds": (
        "From the first step to the first token.",
        lambda s: s.prefill_time,
    ),
    "vllm:request_decode_time_seconds": ("From the first token to the last.", lambda s: s.decode_time),
    "vllm:request_inference_time_seconds": (
        "From the first step to the last token.",
        lambda s: s.inference_time,
    ),
    "vllm:request_prompt_tokens": ("Prompt tokens per request.", lambda s: s.request_prompt_tokens),
    "vllm:request_generation_tokens": (
        "Tokens generated per request.",
        lambda s: s.request_generation_tokens,
    ),
    "vllm:iteration_tokens_total": ("Tokens per step of the engine.", lambda s: s.iteration_tokens),
}

_STAGES: Final[Mapping[str, Callable[[Gauges], int]]] = {
    # A sequence gets its blocks and starts to load at once: nothing waits to start.
    "waiting_to_start": lambda _: 0,
    "in_progress": lambda g: g.loading,
    "completed_waiting": lambda g: g.loaded,
}


class EngineCollector(Collector):
    """Exports all ranks. The label ``engine`` is the data-parallel rank."""

    def __init__(self, settings: Settings, ranks: Sequence[Statistics]) -> None:
        self._settings = settings
        self._ranks = tuple(ranks)

    def collect(self) -> Iterator[Metric]:
        """For the registry."""
        names = ("model_name", "engine")
        ranks = [((self._settings.served_name, str(rank)), one) for rank, one in enumerate(self._ranks)]
        states = [(labels, rank.gauges()) for labels, rank in ranks]
        for name, (meaning, state) in _GAUGES.items():
            gauge = GaugeMetricFamily(name, meaning, labels=names)
            for labels, now in states:
                gauge.add_metric(labels, state(now))
            yield gauge
        for name, (meaning, count) in _COUNTERS.items():
            counter = CounterMetricFamily(name, meaning, labels=names)
            for labels, rank in ranks:
                counter.add_metric(labels, count(rank))
            yield counter
        for name, (meaning, histogram) in _HISTOGRAMS.items():
            family = HistogramMetricFamily(name, meaning, labels=names)
            for labels, rank in ranks:
                one = histogram(rank)
                family.add_metric(labels, one.totals(), one.sum)
            yield family
        sources = CounterMetricFamily(
            "vllm:prompt_tokens_by_source",
            "Prompt tokens by where their KV came from.",
            labels=(*names, "source"),
        )
        success = CounterMetricFamily(
            "vllm:request_success", "Requests by how they ended.", labels=(*names, "finished_reason")
        )
        for labels, rank in ranks:
            for source, tokens in rank.by_source.items():
                sources.add_metric((*labels, source), tokens)
            for reason, requests in rank.finished.items():
                success.add_metric((*labels, reason), requests)
        yield sources
        yield success
        yield self._stages(states)
        yield self._cache_config()

    def _stages(self, states: Sequence[tuple[tuple[str, str], Gauges]]) -> Metric:
        family = GaugeMetricFamily(
            "vllm:num_requests_kv_fetch_by_stage",
            "Waiting sequences by what has become of their KV.",
            labels=("model_name", "engine", "stage"),
        )
        for labels, now in states:
            for stage, count in _STAGES.items():
                family.add_metric((*labels, stage), count(now))
        return family

    def _cache_config(self) -> Metric:
        settings = self._settings
        config = {
            "block_size": str(settings.block_size),
            "enable_prefix_caching": str(settings.prefix_caching),
            "num_gpu_blocks": str(settings.blocks),
            "num_gpu_blocks_override": str(settings.blocks),
            "cache_dtype": "auto",
        }
        family = GaugeMetricFamily(
            "vllm:cache_config_info", "How the KV cache is set up.", labels=(*config, "engine")
        )
        for rank in range(len(self._ranks)):
            family.add_metric((*config.values(), str(rank)), 1)
        return family
