"""What engines compute on, as far as an environment says: only what uses as much can be compared."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from pdtest.environment.schema import Environment, Member
from pdtest.results.amount import counted

#: What Ray calls devices.
_CHIPS: Final = frozenset({"GPU", "NPU"})


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """``devices``: 0 where it is not known of some engine. ``kinds``: of the devices that members name.

    ``resources``: what Ray gives, by name.
    """

    engines: int
    devices: int
    kinds: Mapping[str, int] = field(default_factory=dict)
    resources: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        parts = {f"{count:g} {kind}" for kind, count in (*self.kinds.items(), *self.resources.items())}
        told = f" on {', '.join(sorted(parts))}" if parts else ""
        return f"{counted(self.engines, 'engine')}{told}"

    def same_as(self, other: Hardware) -> bool:
        """As many devices of the same kinds; as many engines where no devices are named."""
        ours, theirs = (dict(self.kinds), self.resources), (dict(other.kinds), other.resources)
        if ours != theirs:
            return False
        known = bool(self.kinds or self.resources)
        return self.devices == other.devices if known else self.engines == other.engines


def hardware_of(environment: Environment, names: Iterable[str]) -> Hardware:
    """Of these engines, together. Devices that several of them share count once."""
    engines = [environment.members[name] for name in names]
    named = {(one.host, device) for one in engines for device in one.devices}
    others = [_chips(one) or environment.performance.engine_devices for one in engines if not one.devices]
    hosts = {name: host.devices for name, host in environment.hosts.items()}
    kinds = Counter(devices.kind.value for host, _ in named if (devices := hosts.get(host)) is not None)
    resources: dict[str, float] = {}
    for name, amount in (given for one in engines for given in one.resources.items()):
        resources[name] = resources.get(name, 0.0) + amount
    return Hardware(
        engines=len(engines),
        devices=len(named) + sum(map(int, filter(None, others))) if all(others) else 0,
        kinds=dict(kinds),
        resources=resources,
    )


def _chips(member: Member) -> int:
    """Those that Ray gives it."""
    return math.ceil(sum(amount for name, amount in member.resources.items() if name in _CHIPS))
