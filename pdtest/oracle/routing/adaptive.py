"""A router that adapts: when its decisions move, and that they come to rest."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from pdtest.environment.routing import ByPhase
from pdtest.oracle.routing.lanes import Lane
from pdtest.oracle.routing.router import Router
from pdtest.oracle.routing.traffic import Errands, Traffic
from pdtest.oracle.verdict import Finding, Ruling
from pdtest.routing.served import Path

#: Between two probes: they are to be no load themselves. Seconds.
_PAUSE_S = 0.3
#: Probes in a row that must take the way that is waited for, to say that decisions have settled.
_IN_A_ROW = 3
#: Of the way from the configured threshold to the end of what it may be.
_PART = 0.25


@dataclass
class Probe:
    """A request of lengths for which an adaptive router's decision depends on what it saw.

    ``seen`` has all that was sent, which the bounds of `ByPhase` hold for, too.
    """

    router: Router
    errands: Errands
    lane: Lane
    seen: Traffic = field(default_factory=Traffic)

    async def once(self) -> Path | None:
        """The way that one takes now."""
        traffic = await self.router.at_once(*self.errands.of(self.lane))
        self.seen += traffic
        return traffic.routed[0].path if traffic.routed else None

    async def until(self, way: Path, within_s: float, *, feed: Sequence[Lane] = ()) -> Finding:
        """Probes until the way is ``way``, `_IN_A_ROW` times. ``feed`` is sent before each probe."""
        began, ways = time.monotonic(), list[Path | None]()
        while time.monotonic() - began < within_s or len(ways) < _IN_A_ROW:
            if feed:
                self.seen += await self.router.at_once(
                    *(one for lane in feed for one in self.errands.of(lane))
                )
            ways.append(await self.once())
            if ways[-_IN_A_ROW:] == [way] * _IN_A_ROW:
                text = f"{self.lane.lengths} take {way} after {time.monotonic() - began:.1f} s"
                return Finding(check="settled", ruling=Ruling.PASS, text=text)
            await asyncio.sleep(_PAUSE_S)
        told = ", ".join(f"{one or 'unknown'} {count}" for one, count in Counter(ways).items())
        text = f"{self.lane.lengths}: {told} within {within_s:g} s, {way} is expected to be all there is"
        unknown = all(one is None for one in ways)
        return Finding(check="settled", ruling=Ruling.INCONCLUSIVE if unknown else Ruling.FAIL, text=text)


@dataclass(frozen=True, kw_only=True)
class Middle:
    """Prompts a quarter of the way from the configured threshold to the ends of what it may be, by factors.

    They are on the other side once one kind of instance is busier than the other, by a quarter of its time.
    """

    phase: ByPhase

    @property
    def above(self) -> Lane:
        """Long, until the threshold is well above the configured one."""
        return Lane(prompt=math.ceil(self.phase.input_threshold * self.phase.flex**_PART), answer=1)

    @property
    def below(self) -> Lane:
        """Short, until the threshold is well below."""
        return Lane(prompt=int(self.phase.input_threshold / self.phase.flex**_PART), answer=1)

    @property
    def long(self) -> Lane:
        """Always long, with an answer of one token: work for prefill alone."""
        return Lane(prompt=math.ceil(self.phase.input_threshold * self.phase.flex), answer=1)

    def by_answers(self) -> tuple[Lane, Lane, Lane] | None:
        """A short prompt whose way depends on how long answers were of late.

        The probe, and requests of the same prompt with short answers and with long ones. None: there is none.
        """
        prompt = math.ceil(self.phase.input_threshold / self.phase.flex) - 1
        if prompt < 2 * self.phase.ratio:
            return None
        longest = int(prompt / self.phase.ratio) + 1
        return (
            Lane(prompt=prompt, answer=longest + longest // 4),
            Lane(prompt=prompt, answer=1),
            Lane(prompt=prompt, answer=2 * longest),
        )
