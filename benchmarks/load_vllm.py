"""vLLM's own benchmark client, in the parts that send, wait and read, as its serve.py puts them together.

PYTHON benchmarks/load_vllm.py URL STREAMS TOKENS RATE with an interpreter that has vLLM (0.32). Prints JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any


async def read(url: str, streams: int, tokens: int, rate: float) -> dict[str, Any]:
    """What it cost, and when requests were sent and first tokens came."""
    import aiohttp
    from vllm.benchmarks.datasets import SampleRequest
    from vllm.benchmarks.lib.endpoint_request_func import (
        RequestFuncInput,
        async_request_openai_completions,
    )
    from vllm.benchmarks.serve import get_request

    samples = [
        SampleRequest(prompt="x", prompt_len=16, expected_output_len=tokens, request_id=f"vllm-{number}")
        for number in range(streams)
    ]
    connector = aiohttp.TCPConnector(limit=0, limit_per_host=0, keepalive_timeout=60)
    timeout = aiohttp.ClientTimeout(total=6 * 60 * 60)
    async with aiohttp.ClientSession(connector=connector, trust_env=True, timeout=timeout) as session:

        async def send(sample: Any) -> Any:
            asked = RequestFuncInput(
                prompt=[1] * 16,
                api_url=f"{url}/v1/completions",
                prompt_len=16,
                output_len=tokens,
                model="m",
                request_id=sample.request_id,
            )
            return await async_request_openai_completions(asked, session)

        cpu_s, began, tasks = time.process_time(), time.monotonic(), []
        # Infinite burstiness is a steady pace, whose times are known.
        async for sample, _ in get_request(samples, rate, burstiness=float("inf")):
            tasks.append(asyncio.create_task(send(sample)))
        outputs = await asyncio.gather(*tasks)
        cpu_s, lasted_s = time.process_time() - cpu_s, time.monotonic() - began
    failed = [output.error for output in outputs if not output.success]
    if failed:
        raise SystemExit(failed[0])
    offsets = [one.start_time - number / rate for number, one in enumerate(outputs)]
    return {
        "cpu_s": cpu_s,
        "lasted_s": lasted_s,
        "first": {f"vllm-{number}": one.start_time + one.ttft for number, one in enumerate(outputs)},
        # When its schedule began it does not tell: its most punctual request is taken as on time.
        "late_s": [offset - min(offsets) for offset in offsets],
    }


if __name__ == "__main__":
    _url, _streams, _tokens, _rate = sys.argv[1:]
    print(json.dumps(asyncio.run(read(_url, int(_streams), int(_tokens), float(_rate)))))
