"""Proxies that cannot handle streams."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from typing import Final

from pdtest.mutants.gateway.bug import Bug, Side

_DONE: Final = b"data: [DONE]"
#: Which of a stream's events is treated badly. Not the first: of a chat that brings the role alone.
_WHICH: Final = 2


class Stream(Bug):
    """The event ``_WHICH`` becomes what ``change`` makes of it."""

    streams = frozenset({Side.FRONT})

    def __init__(self, change: Callable[[bytes], list[bytes]]) -> None:
        self._change = change

    async def events(self, events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """All, with one changed."""
        number = 0
        async for event in events:
            changed = self._change(event) if number == _WHICH else [event]
            number += 1
            for one in changed:
                yield one


class CutOff(Bug):
    """It ends after some events, or lacks the last one, as if all were well."""

    streams = frozenset({Side.FRONT})

    def __init__(self, *, after: int | None = None) -> None:
        self._after = after

    async def events(self, events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The first of them."""
        number = 0
        async for event in events:
            if event.startswith(_DONE) or (self._after is not None and number >= self._after):
                continue
            number += 1
            yield event


class Swapped(Bug):
    """Two neighbours in the wrong order."""

    streams = frozenset({Side.FRONT})

    async def events(self, events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The later one first."""
        held, number = b"", 0
        async for event in events:
            number += 1
            if number == _WHICH:
                held = event
                continue
            yield event
            if held:
                yield held
                held = b""
        if held:
            yield held


def _torn(event: bytes) -> list[bytes]:
    middle = len(event) // 2
    return [event[:middle] + b"\n\n", b"data: " + event[middle:]]


BUGS: Final[Mapping[str, Callable[[], Bug]]] = {
    "stream-chunk-doubled": partial(Stream, lambda event: [event, event]),
    "stream-chunk-lost": partial(Stream, lambda _: []),
    "stream-chunk-split": partial(Stream, _torn),
    "stream-chunks-swapped": Swapped,
    "stream-cut-off": partial(CutOff, after=3),
    "stream-without-done": CutOff,
}
