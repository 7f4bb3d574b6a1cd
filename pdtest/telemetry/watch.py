"""Looks at a source every so often, beside whatever else goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from pdtest.telemetry.series import Look, Series
from pdtest.telemetry.source import Source

#: Kept of what went wrong: a server that is away says the same again and again.
_PROBLEMS = 20


@asynccontextmanager
async def watching(source: Source, *, every_s: float, clock: Callable[[], float]) -> AsyncIterator[Series]:
    """The series of looks at ``source``, which grows for as long as the context lasts.

    A look that fails is noted and does not end it: that readings stopped to come shows in their age.
    """
    series = Series(source=source.name, silent_when_idle=source.silent_when_idle)
    task = asyncio.create_task(_watch(source, series, every_s, clock))
    try:
        yield series
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _watch(source: Source, series: Series, every_s: float, clock: Callable[[], float]) -> None:
    due_s = clock()
    while True:
        await _look(source, series, due_s, clock)
        # At a steady pace, and without making up for what was missed.
        due_s = max(due_s + every_s, clock())
        await asyncio.sleep(due_s - clock())


async def _look(source: Source, series: Series, due_s: float, clock: Callable[[], float]) -> None:
    asked_s = clock()
    try:
        readings = await source.read()
    except Exception as problem:  # noqa: BLE001 - whatever it is, the next look may be better
        if len(series.problems) < _PROBLEMS:
            series.problems.append(f"{asked_s:.1f} s: {problem}")
        return
    if readings:
        series.looks.append(Look(due_s=due_s, asked_s=asked_s, seen_s=clock(), readings=tuple(readings)))
