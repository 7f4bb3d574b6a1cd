"""What there is to look at in a running environment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from pdtest.cluster.machine import is_here
from pdtest.cluster.member import RunningMember
from pdtest.environment.schema import ENGINE_ROLES, DeviceKind, Host
from pdtest.telemetry.settings import Blind, Chip, Engine, Kind, Settings

_KINDS: Final[dict[DeviceKind, Kind]] = {DeviceKind.CUDA: "nvidia", DeviceKind.ASCEND: "ascend"}
_ATTACH: Final = "attach"


def settings_of(members: Iterable[RunningMember], *, every_s: float = 0.1) -> Settings:
    """All that engines among ``members`` compute on and tell: chips, their metrics, this machine."""
    engines = [member for member in members if member.role in ENGINE_ROLES]
    return Settings(
        every_s=every_s,
        chips=_chips(engines),
        engines=tuple(
            Engine(member=member.name, url=member.url, api_key=member.api_key)
            for member in engines
            if member.url.startswith("http")
        ),
        on_cpu=tuple(member.name for member in engines if not _chip_kind(member) and not _why_blind(member)),
        blind=_blind(engines),
    )


def _chips(engines: Sequence[RunningMember]) -> tuple[Chip, ...]:
    users: dict[tuple[Kind, int], list[str]] = {}
    for member in engines:
        kind = _chip_kind(member)
        if kind and not _why_blind(member):
            for number in member.placement.member.devices:
                users.setdefault((kind, number), []).append(member.name)
    return tuple(
        Chip(kind=kind, number=number, members=tuple(names)) for (kind, number), names in users.items()
    )


def _blind(engines: Sequence[RunningMember]) -> tuple[Blind, ...]:
    return tuple(
        Blind(
            kind=_chip_kind(member) or "cpu",
            name=f"devices-of-{member.name}",
            members=(member.name,),
            reason=why,
        )
        for member in engines
        if (why := _why_blind(member))
    )


def _why_blind(member: RunningMember) -> str | None:
    """Why nothing here tells what a member's devices take."""
    name, host = member.placement.member.host, _host(member)
    if not is_here(host.address):
        return f"it computes on {host.address}: devices are read on the machine that pdtest runs on"
    if host.devices is None and member.placement.member.launcher == _ATTACH:
        return f"the environment does not say what it computes on: hosts.{name}.devices"
    if _chip_kind(member) and not member.placement.member.devices:
        return f"the environment does not say which of hosts.{name}.devices are its own"
    return None


def _chip_kind(member: RunningMember) -> Kind | None:
    devices = _host(member).devices
    return _KINDS.get(devices.kind) if devices else None


def _host(member: RunningMember) -> Host:
    return member.placement.environment.hosts[member.placement.member.host]
