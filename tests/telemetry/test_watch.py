from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from pdtest.telemetry.source import RankReading
from pdtest.telemetry.watch import watching


class Source:
    """Gives what it is told to, and then nothing new."""

    name = "somewhere"
    silent_when_idle = False

    def __init__(self, *answers: Sequence[RankReading] | Exception) -> None:
        self.answers = list(answers)
        self.done = asyncio.Event()

    async def read(self) -> Sequence[RankReading]:
        if not self.answers:
            self.done.set()
            return ()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


ONE = RankReading(rank="0", usage=0.5, tokens=None)


async def test_it_looks_again_and_again_and_nothing_new_is_no_look() -> None:
    source = Source([ONE], [], [ONE])
    async with watching(source, every_s=0.001, clock=time.perf_counter) as series:
        await asyncio.wait_for(source.done.wait(), 10)
    assert [look.readings for look in series.looks] == [(ONE,), (ONE,)]
    assert all(look.seen_s >= look.asked_s for look in series.looks)


async def test_a_look_that_fails_is_noted_and_not_the_last() -> None:
    source = Source(OSError("refused"), [ONE], *[LookupError("gone")] * 50)
    async with watching(source, every_s=0.0001, clock=time.perf_counter) as series:
        await asyncio.wait_for(source.done.wait(), 10)
    assert len(series.looks) == 1
    assert series.problems[0].endswith("refused")
    assert len(series.problems) == 20, "a server that is away does not fill our memory"


async def test_it_ends_with_its_context() -> None:
    source = Source()
    async with watching(source, every_s=0.001, clock=time.perf_counter):
        await asyncio.wait_for(source.done.wait(), 10)
    source.done.clear()
    await asyncio.sleep(0.02)
    assert not source.done.is_set()
