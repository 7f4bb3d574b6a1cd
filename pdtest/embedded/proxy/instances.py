"""The instances that requests are sent to, what each is doing, and which can be used."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pdtest.embedded.proxy.histogram import Histogram
from pdtest.embedded.proxy.routing.occupancy import Occupancy
from pdtest.embedded.proxy.usage import Usage

#: Names and numbers: it goes into the head of requests, where nothing else may stand.
_HOST = re.compile(r"[0-9A-Za-z._-]+|\[[0-9A-Fa-f:.]+\]")


class Side(StrEnum):
    """What an instance does for a request."""

    PREFILL = "prefill"
    DECODE = "decode"
    #: All of it.
    HYBRID = "hybrid"


@dataclass(kw_only=True, eq=False)
class Instance:
    """One engine.

    ``out`` says why it is left out, and is None while it is used. ``lives`` counts how often it came (back)
    in: what was learned of it before may not hold any more. ``turn`` is the last time that it was chosen,
    in requests. ``kv_length`` is the sum of the lengths in flight, tokens. ``legs`` are the durations of
    finished requests; ``first_chunks``, not of prefill, the times until an answer began.
    ``prompt_tokens`` it has computed or had in its cache; so many were there, None while it does not tell.
    """

    side: Side
    address: str
    bootstrap_port: int | None = None
    zmq_address: str | None = None
    out: str | None = "it has not answered GET /health yet"
    lives: int = 0
    turn: int = 0
    in_flight: int = 0
    kv_length: int = 0
    done: int = 0
    failed: int = 0
    aborted: int = 0
    legs: Histogram = field(default_factory=Histogram)
    first_chunks: Histogram = field(default_factory=Histogram)
    occupancy: Occupancy = field(default_factory=Occupancy)
    overloaded: bool = False
    prompt_tokens: int = 0
    cached_tokens: int | None = None

    @property
    def host(self) -> str:
        """The address without the port, as it stands in a URL."""
        return self.address.rpartition(":")[0]

    def computed(self, usage: Usage) -> None:
        """A prompt, as it says."""
        self.prompt_tokens += usage.prompt
        if usage.cached is not None:
            self.cached_tokens = (self.cached_tokens or 0) + usage.cached


class Pool:
    """All instances.

    ``on_out`` is told of each that has to be watched until it is back, ``on_gone`` of each that was in use
    and is so no longer, because it is out or was removed.
    """

    def __init__(self) -> None:
        self._instances: dict[tuple[Side, str], Instance] = {}
        self.on_out: Callable[[Instance], None] = lambda _: None
        self.on_gone: Callable[[Instance], None] = lambda _: None

    def __iter__(self) -> Iterator[Instance]:
        return iter(tuple(self._instances.values()))

    def __contains__(self, instance: Instance) -> bool:
        return self._instances.get((instance.side, instance.address)) is instance

    def of(self, side: Side) -> list[Instance]:
        """Every instance of one side, in the order in which they were added."""
        return [instance for instance in self._instances.values() if instance.side is side]

    def usable(self, side: Side) -> list[Instance]:
        """Those that requests may be sent to."""
        return [instance for instance in self.of(side) if instance.out is None]

    def find(self, side: Side, address: str) -> Instance | None:
        """The instance of that address, or None."""
        return self._instances.get((side, address))

    def add(self, instance: Instance) -> Instance:
        """Take one more, or give the one that is there already under this address."""
        known = self._instances.setdefault((instance.side, instance.address), instance)
        if known is instance and instance.out is not None:
            self.on_out(instance)
        return known

    def remove(self, instance: Instance) -> None:
        """Send it nothing more. What it is doing goes on."""
        if self._instances.pop((instance.side, instance.address), None) is not None:
            self.on_gone(instance)

    def take_out(self, instance: Instance, why: str) -> None:
        """Leave it out from now on."""
        watched = instance.out is not None
        instance.out = why
        if not watched and instance in self:
            self.on_gone(instance)
            self.on_out(instance)

    @staticmethod
    def bring_back(instance: Instance) -> None:
        """Use it again."""
        instance.out = None
        instance.lives += 1


def address(host: str, port: int) -> str:
    """``host:port``, with the brackets that IPv6 needs."""
    try:
        bare = ipaddress.ip_address(host)
    except ValueError:
        return f"{host}:{port}"
    return f"[{host}]:{port}" if bare.version == 6 else f"{host}:{port}"  # noqa: PLR2004


def is_address(text: Any) -> bool:
    """Whether ``text``, which somebody sent, is ``host:port``."""
    if not isinstance(text, str):
        return False
    host, colon, port = text.rpartition(":")
    return (
        bool(_HOST.fullmatch(host) and colon)
        and port.isascii()
        and port.isdigit()
        and 0 < int(port) < 1 << 16
    )
