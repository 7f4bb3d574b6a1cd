"""A connection that came in and the one that goes on from here, with a lane in each direction."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, cast

from pdtest.links.condition import Condition, Manner
from pdtest.links.lane import Lane

#: SO_LINGER with a time of zero: closing sends a RST and forgets what was unsent (socket(7)).
_RESET = struct.pack("ii", 1, 0)
#: Bytes that are read at once. asyncio's own 256 KiB, said here since throughput depends on it.
_READ = 1 << 18


class Owner(Protocol):
    """What a pair asks of its relay."""

    @property
    def condition(self) -> Condition:
        """What the link is like."""
        ...

    def joined(self, pair: Pair, from_port: int) -> tuple[str, int]:
        """A connection came. Where it is to go."""
        ...

    def left(self, pair: Pair) -> None:
        """It is over."""
        ...


class Pair:
    """Near is who connected to us, far whom we connect to. ``is_probe``: far is an echo of ours."""

    def __init__(self, owner: Owner) -> None:
        self.is_probe = False
        #: Bytes that came from either side.
        self.came_up = self.came_down = 0
        self._owner = owner
        self._up = Lane(self._lane_ended)
        self._down = Lane(self._lane_ended)
        self._near: asyncio.Transport | None = None
        self._far: asyncio.Transport | None = None
        self._reaching: asyncio.Task[None] | None = None
        #: Bytes were thrown away: nothing that comes later can make sense to either side.
        self._has_lost = False
        self._is_over = False

    def near_end(self) -> asyncio.Protocol:
        """The protocol of the connection that comes in."""
        return _End(self._accepted, self._came_up, lambda: self._up.take(b""), self._gone, self._down)

    def follow(self, condition: Condition) -> None:
        """The link has changed."""
        if condition.manner is Manner.RESETS or (condition.manner is Manner.CARRIES and self._is_spoilt):
            self.abort()
        elif condition.manner is Manner.CARRIES:
            self._up.become(condition.up)
            self._down.become(condition.down)

    def abort(self) -> None:
        """End both sides with a RST."""
        self._end(_reset)

    @property
    def _is_spoilt(self) -> bool:
        return self._has_lost or (self._far is None and self._reaching is None)

    @property
    def _throws_away(self) -> bool:
        if self._owner.condition.manner is Manner.HALF_OPEN:
            self._has_lost = True
        return self._has_lost

    def _accepted(self, near: asyncio.Transport) -> None:
        self._near = near
        goal = self._owner.joined(self, int(near.get_extra_info("peername")[1]))
        condition = self._owner.condition
        if condition.manner is Manner.RESETS:
            self.abort()
            return
        self._up.come_from(near)
        self._down.go_to(near)
        self._up.become(condition.up)
        self._down.become(condition.down)
        if condition.manner is not Manner.HALF_OPEN:
            self._reaching = asyncio.get_running_loop().create_task(self._reach(goal))

    async def _reach(self, goal: tuple[str, int]) -> None:
        def far_end() -> _End:
            return _End(self._reached, self._came_down, lambda: self._down.take(b""), self._gone, self._up)

        try:
            await asyncio.get_running_loop().create_connection(far_end, *goal)
        except OSError:
            self.abort()  # as if nobody listened here: the kernel would have answered with a RST

    def _reached(self, far: asyncio.Transport) -> None:
        if self._is_over:
            far.abort()
            return
        self._far = far
        self._down.come_from(far)
        self._up.go_to(far)

    def _came_up(self, data: bytes) -> None:
        self.came_up += len(data)
        if not self._throws_away:
            self._up.take(data)

    def _came_down(self, data: bytes) -> None:
        self.came_down += len(data)
        if not self._throws_away:
            self._down.take(data)

    def _gone(self) -> None:
        """One side is gone, and not because we closed it: the other one is told in the same way."""
        self.abort()

    def _lane_ended(self) -> None:
        if self._up.has_ended and self._down.has_ended:
            self._end(lambda transport: transport.close())

    def _end(self, how: Callable[[asyncio.Transport], None]) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._owner.left(self)
        for lane in (self._up, self._down):
            lane.close()
        if self._reaching is not None and self._far is None:
            self._reaching.cancel()
        for transport in (self._near, self._far):
            if transport is not None:
                how(transport)


class _End(asyncio.Protocol):
    """One socket. ``fills`` is the lane that is written to it."""

    def __init__(
        self,
        made: Callable[[asyncio.Transport], None],
        came: Callable[[bytes], None],
        finished: Callable[[], None],
        gone: Callable[[], None],
        fills: Lane,
    ) -> None:
        self._made = made
        self._finished = finished
        self._gone = gone
        self._fills = fills
        self.data_received = came  # type: ignore[method-assign, assignment]  # one call less per piece

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        transport.max_size = _READ  # type: ignore[attr-defined]
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._made(cast("asyncio.Transport", transport))

    def eof_received(self) -> bool:
        """The program has nothing more to say; it may still listen."""
        self._finished()
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """It is gone."""
        self._gone()

    def pause_writing(self) -> None:
        """The program reads slowly."""
        self._fills.fill(is_full=True)

    def resume_writing(self) -> None:
        """It has read."""
        self._fills.fill(is_full=False)


def _reset(transport: asyncio.Transport) -> None:
    with suppress(OSError):
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()
