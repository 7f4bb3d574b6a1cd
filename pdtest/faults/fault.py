"""The seam between a test and what it breaks.

A fault is armed, verified from outside, and lifted; `inflicted` does all three, and lifts whatever happens in
between. What could not be verified proves nothing: the test is then inconclusive, never passed.

To add one: a file in this room with a class of this shape, and a row in docs/faults.md.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from pdtest.environment.schema import Outcome
from pdtest.errors import PdtestError
from pdtest.events.fault import FaultArmed, FaultLifted, FaultVerified
from pdtest.events.record import Event

_POLL_S = 0.01


class Unverified(PdtestError):
    """Nobody saw the fault take effect, so that what follows proves nothing."""

    title = "fault not verified"


class Refused(PdtestError):
    """The fault cannot be, or must not be, inflicted on this deployment."""

    title = "fault refused"


@dataclass(frozen=True, kw_only=True)
class Aftermath:
    """What a fault may do, and what must be true afterwards.

    ``meanwhile``: how a request may end that needs what is broken; all others end rightly. ``new_life``: once
    lifted, the target is another process, with empty caches and another engine id. ``holds``: until a lease
    ends, engines may hold blocks for the target. After that, all must be idle.
    """

    meanwhile: frozenset[Outcome] = frozenset({Outcome.RIGHT, Outcome.ERROR})
    new_life: bool = False
    holds: bool = True


class Fault(Protocol):
    """Something that is broken and mended. Armed once."""

    @property
    def name(self) -> str:
        """What it does, in a word or two: ``kill``."""
        ...

    @property
    def target(self) -> str:
        """The member or the link that it does it to."""
        ...

    @property
    def members(self) -> frozenset[str]:
        """Requests that need none of these are unharmed."""
        ...

    @property
    def aftermath(self) -> Aftermath:
        """What may come of it."""
        ...

    async def arm(self) -> None:
        """Break it. Raises Refused where it cannot be done."""
        ...

    async def verify(self) -> str:
        """See from outside that it took effect, and say how. Raises Unverified."""
        ...

    async def lift(self) -> None:
        """Mend it, whatever came of it. Does nothing where `arm` did nothing, or when called again."""
        ...


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A fault that is in effect: since ``in_effect_at`` at the latest, by `time.perf_counter`."""

    fault: Fault
    what: str
    in_effect_at: float


@asynccontextmanager
async def inflicted(
    fault: Fault, *, tell: Callable[[Event], None] | None = None, test: str = ""
) -> AsyncIterator[Seen]:
    """Armed and verified while the block runs; lifted whatever happens, Ctrl-C and cancellation included.

    Raises Refused and Unverified, and what mending raises.
    """
    say = tell or _nobody_hears
    name, target = fault.name, fault.target
    armed_at = time.perf_counter()
    in_effect_at = 0.0
    try:
        await fault.arm()
        in_effect_at = time.perf_counter()
        say(FaultArmed(fault=name, target=target, test=test))
        what = await fault.verify()
        after_s = time.perf_counter() - armed_at
        say(FaultVerified(fault=name, target=target, test=test, seen=what, after_s=after_s))
        yield Seen(fault=fault, what=what, in_effect_at=in_effect_at)
    finally:
        await to_its_end(fault.lift())
        lasted_s = time.perf_counter() - armed_at
        if in_effect_at:  # else it was refused
            say(FaultLifted(fault=name, target=target, test=test, lasted_s=lasted_s))


async def to_its_end(work: Awaitable[None]) -> None:
    """Wait for ``work`` through any number of cancellations; the last of them is raised when it is done."""
    task, cancelled = asyncio.ensure_future(work), None
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError as error:
            cancelled = error
    task.result()
    if cancelled is not None:
        raise cancelled


async def seen_within(look: Callable[[], Awaitable[str | None]], within_s: float) -> str | None:
    """What ``look`` says as soon as it says something; None when the time is over."""
    deadline = time.monotonic() + within_s
    while True:
        said = await look()
        if said is not None or time.monotonic() > deadline:
            return said
        await asyncio.sleep(_POLL_S)


def _nobody_hears(_: Event) -> None:
    pass
