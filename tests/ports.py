"""Ports for programs that tests start: leased, so that no other test, run or connection has them too."""

from __future__ import annotations

from collections import deque

from pdtest.launch.lease import PortLeases

#: Of the ports that were asked for last. Those before belong to programs that ended, or that have bound them.
_leases: deque[PortLeases] = deque()
_MOST = 64


def free_ports(count: int) -> list[int]:
    """Adjacent ports that nobody listens on."""
    if len(_leases) == _MOST:
        _leases.popleft().release_all()
    leases = PortLeases("pdtest's own tests")
    first = leases.take(count)
    _leases.append(leases)
    return [*range(first, first + count)]


def free_port() -> int:
    """One of them."""
    return free_ports(1)[0]
