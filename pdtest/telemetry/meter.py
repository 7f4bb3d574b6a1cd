"""What is read over and over while a load runs. Each kind of device has a file with its `Meter`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

#: In place of a quantity: the whole device or member.
ALL: Final = "*"

UNITS: Final[Mapping[str, str]] = {
    "power_w": "W",
    "energy_j": "J",
    "graphics_clock_mhz": "MHz",
    "memory_clock_mhz": "MHz",
    "temperature_c": "C",
    "utilisation": "1",
    "memory_usage": "1",
    "throttled_power": "1",
    "throttled_thermal": "1",
    "throttled_other": "1",
    "kv_usage": "1",
    "running": "requests",
    "waiting": "requests",
    "prompt_tokens": "tokens",
    "generation_tokens": "tokens",
    "preemptions": "requests",
}


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A device or member that a meter reads: becomes one Monitor.

    ``quantities`` are those it may give; ``missing`` those that are wanted and will never come, with the
    reason, or `ALL` where nothing will.
    """

    name: str
    kind: str
    members: tuple[str, ...] = ()
    every_s: float
    quantities: tuple[str, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)

    @property
    def readable(self) -> bool:
        """Whether anything may come."""
        return ALL not in self.missing


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One reading. ``missing``: what failed this time, with the reason."""

    values: Mapping[str, float]
    missing: Mapping[str, str] = field(default_factory=dict)


class Meter(Protocol):
    """Reads one kind of thing, in a thread of its own. What is not there is no error: `open` says so."""

    @property
    def every_s(self) -> float:
        """How often it wants to be read."""
        ...

    def open(self) -> Sequence[Offer]:
        """Look what there is. Called once, before the first `read`."""
        ...

    def read(self) -> Mapping[str, Seen]:
        """How things are now, by the name of the offer. Called where one is readable.

        Raises what keeps all of them from being read this time; it is called again.
        """
        ...

    def close(self) -> None:
        """End what it holds, also while another thread is in `read`."""
        ...


def share(percent: float) -> float:
    """Of percent, as drivers tell them."""
    return percent / 100
