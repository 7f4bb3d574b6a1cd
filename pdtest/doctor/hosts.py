"""Hosts of an environment that are reached: can we, what do they have, and what time is it there."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pdtest.cluster.abroad import Destination, needed
from pdtest.doctor.finding import Finding, fine, from_error, note
from pdtest.environment.schema import Environment
from pdtest.errors import PdtestError
from pdtest.launch.launcher import Launcher
from pdtest.launch.outpost import Outpost, Reaching

#: With NTP, hosts of one network differ by milliseconds.
_SKEW_S: Final = 0.1


async def hosts(environment: Environment, ways: Mapping[str, Launcher]) -> Sequence[Finding]:
    """All are asked at once. What was started there to ask is gone afterwards."""
    owner = f"doctor-{secrets.token_hex(4)}"
    wanted = [*needed(environment, ways), *_senders(environment, ways)]
    asking = [_host(environment, one, owner) for one in wanted]
    return [finding for found in await asyncio.gather(*asking) for finding in found]


def _senders(environment: Environment, ways: Mapping[str, Launcher]) -> Iterator[Destination]:
    """A place as each process of the load's client will ask for one."""
    senders, way = environment.performance.senders, ways.get("ray")
    if senders is not None and isinstance(way, Reaching):
        yield Destination(name="senders", host=senders.host, way=way, members=(), resources=senders.resources)


async def _host(environment: Environment, there: Destination, owner: str) -> list[Finding]:
    host, called = environment.hosts[there.host], there.host
    try:
        outpost = await there.way.reach(there.name, host, owner=owner, resources=there.resources)
    except PdtestError as error:
        return [from_error("hosts", error)]
    if there.way.places_members:
        called = f"{there.host}, {outpost.address} for {there.name}"
    try:
        return [
            fine("hosts", f"'{called}' is reached; {outpost.python} there"),
            *_clock(called, outpost),
            *await _claims(environment, there, outpost),
        ]
    except PdtestError as error:  # it was lost meanwhile
        return [from_error("hosts", error)]
    finally:
        await outpost.leave()


def _clock(name: str, outpost: Outpost) -> Iterator[Finding]:
    skew = outpost.skew
    fact = f"'{name}' is {skew.offset_s * 1000:+.1f} ms from ours, +-{skew.error_s * 1000:.1f} ms"
    if abs(skew.offset_s) - skew.error_s > _SKEW_S:
        yield note(
            "clock", fact, "have both follow one NTP server (chronyc tracking); logs cannot be compared"
        )
    else:
        yield fine("clock", fact)


async def _claims(environment: Environment, there: Destination, outpost: Outpost) -> list[Finding]:
    """Ports that the file fixes, and devices, leased for a moment."""
    host, found = environment.hosts[there.host], []
    for called in there.members:
        member = environment.members[called]
        if member.launcher != outpost.name:
            continue
        for port in member.ports.values():
            try:
                if port != "auto":
                    await outpost.claim(port, outpost.address)
            except PdtestError as error:
                found.append(from_error("ports", error))
        try:
            if member.devices and host.devices is not None and not host.devices.shared:
                wanted = dict.fromkeys(member.devices, f"member '{called}'")
                await outpost.hold(host.devices.kind.value, wanted)
        except PdtestError as error:
            found.append(from_error("devices", error))
    return found
