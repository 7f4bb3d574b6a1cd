from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import pytest

from pdtest.environment.load import VLLM_STATISTICS
from pdtest.telemetry.follower import Follower
from pdtest.telemetry.log import LogSource
from pdtest.telemetry.source import RankReading

#: As vLLM 0.32 writes them (v1/metrics/loggers.py): parts in between come and go.
PLAIN = (
    "(APIServer pid=7) INFO 08-22 12:00:01 [loggers.py:259] Engine 000: Avg prompt throughput: 12.0 "
    "tokens/s, Avg generation throughput: 80.5 tokens/s, Running: 4 reqs, Waiting: 1 reqs, NPU KV cache "
    "usage: 12.5%, Prefix cache hit rate: 0.0%, External prefix cache hit rate: 99.0%\n"
)
FULL = (
    "INFO 08-22 12:00:01 [loggers.py:259] Engine 011: Avg prompt throughput: 0.0 tokens/s, Avg generation "
    "throughput: 8.0 tokens/s, Running: 0 reqs, Waiting: 3 reqs, Deferred: 2 reqs, KV fetch: 1 waiting to "
    "start, 1 in progress, 0 completed waiting, Preemptions: 1, GPU KV cache usage: 25.0%\n"
)


@contextmanager
def following(
    path: Path, pattern: str = VLLM_STATISTICS, capacity: Mapping[str, int] = MappingProxyType({})
) -> Iterator[LogSource]:
    with Follower(path, from_start=True) as follower:
        yield LogSource(follower=follower, pattern=re.compile(pattern), capacity=capacity)


async def test_vllms_lines_tell_usage_and_requests_of_each_rank(tmp_path: Path) -> None:
    log = tmp_path / "decode_dp.log"
    log.write_text(PLAIN + "INFO something else\n" + FULL)
    with following(log, capacity={"0": 8000}) as source:
        assert await source.read() == [
            RankReading(rank="0", usage=0.125, tokens=1000.0, running=4, waiting=1),
            RankReading(rank="11", usage=0.25, tokens=None, running=0, waiting=3),
        ]


async def test_a_log_of_ones_own_may_tell_tokens(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("dp=2 kv_len=4711\ndp=0 kv_len=many\n")
    with following(log, r"dp=(?P<rank>\d+) kv_len=(?P<tokens>\w+)") as source:
        readings = await source.read()
    assert readings[0] == RankReading(rank="2", usage=None, tokens=4711.0)
    assert readings[1].tokens is None


async def test_without_a_file_there_is_something_to_say(tmp_path: Path) -> None:
    with following(tmp_path / "absent.log") as source:
        with pytest.raises(LookupError, match=r"there is no file .*absent\.log"):
            await source.read()
        (tmp_path / "absent.log").write_text(PLAIN)
        assert len(await source.read()) == 1
        assert await source.read() == []
