"""The result of a load in the shape of ``vllm bench serve --save-result --save-detailed``.

For programs that read those files. Names, units and definitions are vLLM's (0.32, benchmarks/serve.py), which
differ from docs/metrics.md: times count from when a request was sent, percentiles are interpolated and told
of any number of samples, time per token divides by all tokens but one.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Final

from pdtest.metrics.latency import Since, e2e, ttft
from pdtest.results import Exchange, Result

_MS: Final = 1e3
_P99: Final = 99


def as_vllm_bench(result: Result, exchanges: Sequence[Exchange], *, model: str) -> str:
    """One JSON object."""
    answered = [one for one in exchanges if one.ok]
    output = sum(one.tokens for one in answered)
    total = sum(one.prompt_tokens for one in answered)
    lasted_s = result.lasted_s
    goodput = result.measure("goodput")
    arrivals = result.workload.get("arrivals", {})
    return json.dumps(
        {
            "backend": "openai",
            "endpoint_type": "openai",
            "label": result.label,
            "model_id": model,
            "tokenizer_id": model,
            "num_prompts": len(exchanges),
            "request_rate": arrivals.get("rate", "inf"),
            "burstiness": arrivals.get("burstiness", 1.0),
            "max_concurrency": arrivals.get("concurrency"),
            "duration": lasted_s,
            "completed": len(answered),
            "failed": len(exchanges) - len(answered),
            "total_input_tokens": total,
            "total_output_tokens": output,
            "request_throughput": len(answered) / lasted_s if lasted_s else 0.0,
            "request_goodput": goodput.value if goodput else None,
            "output_throughput": output / lasted_s if lasted_s else 0.0,
            "total_token_throughput": (total + output) / lasted_s if lasted_s else 0.0,
            **dict(_latencies(answered)),
            "input_lens": [one.prompt_tokens for one in exchanges],
            "output_lens": [one.tokens if one.ok else 0 for one in exchanges],
            "ttfts": [ttft(one, Since.SENT) or 0.0 for one in exchanges],
            "itls": [_gaps(one) for one in exchanges],
            "latencies": [e2e(one, Since.SENT) or 0.0 for one in exchanges],
            "start_times": [result.begun_monotonic_s + one.sent_s for one in exchanges],
            "errors": [one.error or "" for one in exchanges],
        },
        indent=1,
    )


def _latencies(answered: Sequence[Exchange]) -> Iterator[tuple[str, Any]]:
    quantities = {
        "ttft": [ttft(one, Since.SENT) or 0.0 for one in answered],
        "tpot": [tpot for tpot in map(_tpot, answered) if tpot is not None],
        "itl": [gap for one in answered for gap in _gaps(one)],
        "e2el": [e2e(one, Since.SENT) or 0.0 for one in answered],
    }
    for name, seconds in quantities.items():
        values = [second * _MS for second in seconds] or [0.0]
        yield f"mean_{name}_ms", statistics.fmean(values)
        yield f"median_{name}_ms", statistics.median(values)
        yield f"std_{name}_ms", statistics.pstdev(values)
        yield f"p{_P99}_{name}_ms", _interpolated(sorted(values), _P99)


def _tpot(exchange: Exchange) -> float | None:
    tokens, first, last = exchange.tokens, ttft(exchange, Since.SENT), e2e(exchange, Since.SENT)
    return (last - first) / (tokens - 1) if tokens > 1 and first is not None and last is not None else None


def _gaps(exchange: Exchange) -> list[float]:
    return [later.at_s - earlier.at_s for earlier, later in pairwise(exchange.pieces)]


def _interpolated(ranked: Sequence[float], percent: int) -> float:
    """As numpy.percentile."""
    place = (len(ranked) - 1) * percent / 100
    low = int(place)
    high = min(low + 1, len(ranked) - 1)
    return ranked[low] + (ranked[high] - ranked[low]) * (place - low)
