from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import pytest

from pdtest.client.endpoint import Endpoint
from pdtest.client.metrics import Metrics
from pdtest.telemetry.prometheus import PrometheusSource
from pdtest.telemetry.source import RankReading

TEXT = """\
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.5
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.25
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 7.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="m"} 0.0
vllm:num_requests_waiting{engine="1",model_name="m"} 2.0
# TYPE vllm:cache_config_info gauge
vllm:cache_config_info{block_size="16",engine="0",num_gpu_blocks="100"} 1.0
vllm:cache_config_info{block_size="16",engine="1",num_gpu_blocks="None"} 1.0
"""


@dataclass
class Server:
    text: str
    url: str = "http://decode:20012/"

    async def metrics(self) -> Metrics:
        return Metrics.parse(self.text)


def source(text: str) -> PrometheusSource:
    return PrometheusSource(cast("Endpoint", Server(text)))


async def test_each_rank_has_its_share_in_tokens_where_the_cache_size_is_told() -> None:
    zero, one = await source(TEXT).read()
    assert zero == RankReading(rank="0", usage=0.5, tokens=800.0, running=3, waiting=0)
    assert one == RankReading(rank="1", usage=0.25, tokens=None, running=7, waiting=2)
    assert (zero.length, zero.requests) == (800.0, 3)
    assert (one.length, one.requests) == (0.25, 9)


async def test_requests_that_are_not_told_are_not_zero() -> None:
    only_usage = TEXT.partition("# TYPE vllm:num_requests_running")[0]
    assert [reading.requests for reading in await source(only_usage).read()] == [None, None]


async def test_a_server_without_the_metric_is_named() -> None:
    with pytest.raises(LookupError, match=r"http://decode:20012/metrics does not export vllm:kv_cache"):
        await source("# TYPE other gauge\nother 1.0\n").read()
