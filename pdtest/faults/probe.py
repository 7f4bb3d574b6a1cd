"""What a link is like, measured from outside: bytes go through it and come back from an echo behind it."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import suppress
from dataclasses import dataclass

from pdtest.cluster.cluster import Cluster
from pdtest.links import Relay

_SEVERAL = 8
_BULK = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a probe has seen.

    ``refused``: no connection. ``reset``: one that was ended with a RST. ``round_trip_s``: of several single
    bytes; those that came back in time. ``bulk_s``: of 64 KiB; None if they did not come back whole.
    ``largest``: bytes that came at once of these.
    """

    refused: bool = False
    reset: bool = False
    round_trip_s: tuple[float, ...] = ()
    bulk_s: float | None = None
    largest: int = 0

    @property
    def is_silent(self) -> bool:
        """Connected, and nothing came back."""
        return not (self.refused or self.reset or self.round_trip_s)

    def __str__(self) -> str:
        if self.refused:
            return "connection refused"
        if self.reset:
            return "connection reset"
        if not self.round_trip_s:
            return "connected, and nothing came back"
        trips = f"round trips of {min(self.round_trip_s) * 1e3:.1f} to {max(self.round_trip_s) * 1e3:.1f} ms"
        bulk = f", 64 KiB in {self.bulk_s * 1e3:.0f} ms" if self.bulk_s is not None else ""
        return f"{trips}{bulk}, pieces of up to {self.largest} bytes"


async def measure(cluster: Cluster, relay: Relay, *, patience_s: float, bulk: bool) -> Measured:
    """Go through ``relay`` once. Nothing reaches the member behind it."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET6 if ":" in relay.address else socket.AF_INET) as sock:
        sock.setblocking(False)  # noqa: FBT003 - that is its signature
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.bind((relay.address, 0))
        await asyncio.to_thread(cluster.expect_probe, relay, sock.getsockname()[1])
        try:
            await loop.sock_connect(sock, (relay.address, relay.port))
        except ConnectionRefusedError:
            return Measured(refused=True)
        except ConnectionResetError:
            return Measured(reset=True)
        trips: list[float] = []
        try:
            for _ in range(_SEVERAL):
                trip_s, _ = await _round_trip(sock, 1, patience_s)
                trips.append(trip_s)
            bulk_s, largest = await _round_trip(sock, _BULK, 10 * patience_s) if bulk else (None, 1)
        except TimeoutError:
            return Measured(round_trip_s=tuple(trips))
        except ConnectionError:
            return Measured(reset=True, round_trip_s=tuple(trips))
        return Measured(round_trip_s=tuple(trips), bulk_s=bulk_s, largest=largest)


async def _round_trip(sock: socket.socket, size: int, patience_s: float) -> tuple[float, int]:
    """Seconds until all came back, and how much came at once. Raises TimeoutError and ConnectionError."""
    loop = asyncio.get_running_loop()
    began, missing, largest = time.perf_counter(), size, 0
    sending = asyncio.create_task(loop.sock_sendall(sock, bytes(size)))
    try:
        async with asyncio.timeout(patience_s):
            while missing:
                got = len(await loop.sock_recv(sock, _BULK))
                if not got:
                    raise ConnectionResetError("closed")
                missing -= got
                largest = max(largest, got)
    finally:
        sending.cancel()
        with suppress(asyncio.CancelledError, OSError):
            await sending
    return time.perf_counter() - began, largest
