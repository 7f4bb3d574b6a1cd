"""What there is to look at in a running environment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pdtest.cluster.machine import is_here
from pdtest.cluster.member import RunningMember
from pdtest.environment.schema import ENGINE_ROLES, DeviceKind
from pdtest.telemetry.settings import Chip, Engine, Kind, Settings

_KINDS: Final[dict[DeviceKind, Kind]] = {DeviceKind.CUDA: "nvidia", DeviceKind.ASCEND: "ascend"}


def settings_of(members: Iterable[RunningMember], *, every_s: float = 0.1) -> Settings:
    """All that members run on and tell: their chips, their engines' metrics, this machine."""
    running = tuple(members)
    return Settings(
        every_s=every_s,
        chips=tuple(_chips(running)),
        engines=tuple(
            Engine(member=member.name, url=member.url, api_key=member.api_key)
            for member in running
            if member.role in ENGINE_ROLES and member.url.startswith("http")
        ),
    )


def _chips(members: tuple[RunningMember, ...]) -> Iterable[Chip]:
    users: dict[tuple[Kind, int, str | None], list[str]] = {}
    for member in members:
        placement = member.placement
        host = placement.environment.hosts[placement.member.host]
        kind = _KINDS.get(host.devices.kind) if host.devices else None
        if kind:
            elsewhere = None if is_here(host.address) else host.address
            for number in placement.member.devices:
                users.setdefault((kind, number, elsewhere), []).append(member.name)
    for (kind, number, elsewhere), names in users.items():
        yield Chip(kind=kind, number=number, members=tuple(names), elsewhere=elsewhere)
