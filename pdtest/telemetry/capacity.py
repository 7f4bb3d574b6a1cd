"""How many tokens fit into a rank's KV cache."""

from __future__ import annotations

from collections.abc import Mapping

from pdtest.client.metrics import Metrics

#: Labels say it all, the value is 1 (vLLM 0.32, v1/metrics/loggers.py, log_metrics_info).
_CONFIG = "vllm:cache_config_info"


def kv_tokens_by_rank(metrics: Metrics) -> Mapping[str, int]:
    """Blocks times block size, by rank; ranks that do not tell are left out."""
    tokens = {}
    for labels, _ in metrics.samples.get(_CONFIG, ()):
        blocks, size = labels.get("num_gpu_blocks", ""), labels.get("block_size", "")
        if blocks.isdecimal() and size.isdecimal():
            tokens[labels.get("engine", "0")] = int(blocks) * int(size)
    return tokens
