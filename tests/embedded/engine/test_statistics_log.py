from __future__ import annotations

import asyncio
import logging
import re
from dataclasses import replace

import pytest

from pdtest.embedded.engine.cores import Cores
from pdtest.embedded.engine.statistics_log import RankLine, log_statistics

from .conftest import CONFIG, SETTINGS
from .sequences import run, sequence, text

#: What pdtest looks for in logs of vLLM, in short.
LINE = re.compile(r"Engine (\d+):.* Running: (\d+) reqs, Waiting: (\d+) reqs.* KV cache usage: ([\d.]+)%")


async def test_a_rank_that_works_has_a_line_and_an_idle_one_has_none() -> None:
    cores = Cores(replace(SETTINGS, data_ranks=2), CONFIG)
    await cores.start()
    lines = [RankLine(number, core.statistics) for number, core in enumerate(cores)]
    assert [line.next(1) for line in lines] == [None, None]
    await run(list(cores)[1], sequence(text(9), 4))
    idle, busy = (line.next(2) for line in lines)
    assert idle is None
    assert busy == (
        "Engine 001: Avg prompt throughput: 4.5 tokens/s, Avg generation throughput: 2.0 tokens/s, "
        "Running: 0 reqs, Waiting: 0 reqs, CPU KV cache usage: 0.0%"
    )
    assert LINE.search(lines[1].next(1) or ""), "vLLM writes one more when nothing goes on any longer"
    assert lines[1].next(1) is None
    await cores.close()


async def test_lines_are_written_every_so_often(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    cores = Cores(SETTINGS, CONFIG)
    await cores.start()
    writing = asyncio.create_task(log_statistics([core.statistics for core in cores], 0.01))
    one = sequence(text(9), 200)
    next(iter(cores)).submit(one)
    for _ in range(100):
        await one.steps.get()
        await asyncio.sleep(0.001)
    assert ("000", "1", "0") in {found[:3] for found in LINE.findall(caplog.text)}
    writing.cancel()
    await cores.close()
