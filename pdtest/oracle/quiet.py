"""Coming to rest: no request runs, none waits, no block of the KV cache is held."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pdtest.client.endpoint import Endpoint
from pdtest.client.rest import KV_USAGE, look_at
from pdtest.events.quiet import QuietSought
from pdtest.events.record import Event
from pdtest.oracle.verdict import Finding, Ruling

_POLL_S = 0.1


@dataclass(frozen=True, kw_only=True)
class Quiet:
    """How engines were found: all of them idle, or what is left on those that are not."""

    looks: tuple[QuietSought, ...]

    @property
    def reached(self) -> bool:
        """All are idle."""
        return all(look.quiet for look in self.looks)

    def __str__(self) -> str:
        return "; ".join(f"{look.member}: {look.left or 'idle'}" for look in self.looks)

    def findings(self) -> tuple[Finding, ...]:
        """One for each engine. An engine that exports nothing of all this leaves the question open."""
        return tuple(_finding(look) for look in self.looks)


async def seek_quiet(
    engines: Mapping[str, Endpoint],
    within_s: float,
    *,
    on_event: Callable[[Event], None] | None = None,
    test: str = "",
) -> Quiet:
    """Watch ``engines`` until all are idle at once, or ``within_s`` is over.

    An engine that does not answer is looked at again until then, and is not idle. How each was seen last is
    told to ``on_event``: the history of the run has to know.
    """
    deadline = time.monotonic() + within_s
    while True:
        looked = (look_at(name, engine, within_s=within_s, test=test) for name, engine in engines.items())
        looks = tuple(await asyncio.gather(*looked))
        if time.monotonic() > deadline or all(look.quiet for look in looks):
            break
        await asyncio.sleep(_POLL_S)
    for look in looks:
        if on_event is not None:
            on_event(look)
    return Quiet(looks=looks)


def _finding(look: QuietSought) -> Finding:
    if look.answers and look.kv_usage is None:
        ruling, text = Ruling.INCONCLUSIVE, f"does not export {KV_USAGE}"
    elif look.quiet:
        ruling, text = Ruling.PASS, "is idle"
    else:
        ruling, text = Ruling.FAIL, f"is not idle after {look.within_s:g} s: {look.left}"
    return Finding(check="quiet", ruling=ruling, text=f"{look.member} {text}")
