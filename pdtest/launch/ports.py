"""Where the ports of members come from: leased for a run, or counted for one who starts them later."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Final, Protocol

from pdtest.launch.lease import NoPortsLeft

#: Below what kernels give to outgoing connections, above what well-known programs use by habit.
FIRST_PORT: Final = 18_000
_LAST_PORT: Final = 65_535


class Ports(Protocol):
    """What placing members needs. `pdtest.launch.lease.PortLeases` is the other one."""

    def claim(self, port: int, address: str) -> None:
        """A port that the environment fixes. May raise PortTaken."""
        ...

    def take(self, count: int, address: str) -> int:
        """The first of ``count`` consecutive ports that nobody else was given. Raises NoPortsLeft."""
        ...


class CountedPorts:
    """Ports counted up from ``first``, around those that are claimed: the same each time.

    Nothing is leased and nobody is asked whether they are free: they are for later, or for another machine.
    """

    def __init__(self, first: int = FIRST_PORT) -> None:
        self._first = first
        self._next = first
        self._claimed: set[int] = set()

    def claim(self, port: int, address: str) -> None:  # noqa: ARG002 - the same everywhere
        """Leave ``port`` out when counting."""
        self._claimed.add(port)

    def take(self, count: int, address: str) -> int:  # noqa: ARG002 - the same everywhere
        """The next ``count`` in a row that are not claimed. Raises NoPortsLeft."""
        base = next(base for base in self._bases() if self._claimed.isdisjoint(range(base, base + count)))
        if base + count - 1 > _LAST_PORT:
            raise NoPortsLeft(
                f"there are no {count} ports in a row from {base} on",
                expected=f"ports up to {_LAST_PORT}",
                next_step=f"count from a lower one than {self._first}",
            )
        self._next = base + count
        return base

    def _bases(self) -> Iterator[int]:
        return count(self._next)
