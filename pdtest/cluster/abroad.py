"""The hosts of an environment that are not this machine: reached before placing, left at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from anyio.from_thread import BlockingPortal

from pdtest.environment.schema import Environment, Host, Member
from pdtest.events import HostReached, Journal
from pdtest.launch.launcher import Launcher
from pdtest.launch.outpost import Outpost, Reaching
from pdtest.launch.ports import Ports


@dataclass(frozen=True, kw_only=True)
class Abroad:
    """What placing a member on such a host needs. ``model``: where the model is there, if not as here."""

    address: str
    ports: Ports
    members: Path
    python: str
    model: str | None


@dataclass(frozen=True, kw_only=True)
class Destination:
    """An outpost to be: a host for all its members, or one member's place on a host that is many."""

    name: str
    host: str
    way: Reaching
    members: tuple[str, ...]
    resources: Mapping[str, float]


def needed(environment: Environment, launchers: Mapping[str, Launcher]) -> tuple[Destination, ...]:
    """All that must be reached."""
    hosts: dict[str, Destination] = {}
    places: list[Destination] = []
    for name, member in environment.members.items():
        way = launchers.get(member.launcher)
        if not isinstance(way, Reaching) or member.host not in environment.hosts:
            continue
        if way.places_members:
            places.append(
                Destination(name=name, host=member.host, way=way, members=(name,), resources=member.resources)
            )
        else:
            there = tuple(other for other, one in environment.members.items() if one.host == member.host)
            hosts[member.host] = Destination(
                name=member.host, host=member.host, way=way, members=there, resources={}
            )
    return (*hosts.values(), *places)


def foreseen(
    environment: Environment, launchers: Mapping[str, Launcher], directory: Path, ports: Ports
) -> dict[str, Abroad]:
    """As `Hosts.abroad`, without going anywhere: for whoever will start members there by hand."""
    found = {}
    for destination in needed(environment, launchers):
        host = environment.hosts[destination.host]
        abroad = Abroad(
            address=(host.ray.node if host.ray else None) or host.address,
            ports=ports,
            members=directory / "members",
            python=python if (python := getattr(host.site, "python", None)) else "",
            model=host.site.model if host.site else None,
        )
        found.update(dict.fromkeys(destination.members, abroad))
    return found


class Hosts:
    """Hosts that were reached. Used from threads other than the loop's."""

    def __init__(
        self,
        environment: Environment,
        portal: BlockingPortal,
        reached: Sequence[tuple[Destination, Outpost]] = (),
    ) -> None:
        self._environment = environment
        self._portal = portal
        self._reached = reached
        self._outposts = {name: outpost for there, outpost in reached for name in there.members}

    @classmethod
    def reach(  # noqa: PLR0913 - by keyword, what reaching needs
        cls,
        environment: Environment,
        destinations: Sequence[Destination],
        *,
        owner: str,
        portal: BlockingPortal,
        journal: Journal,
        resources: ExitStack,
    ) -> Hosts:
        """All at once; ``resources`` leave them. Raises HostError."""
        outposts = portal.call(_reach_all, environment, destinations, f"{owner}-{environment.name}")
        for destination, outpost in zip(destinations, outposts, strict=True):
            resources.callback(portal.call, outpost.leave)
            journal.append(
                HostReached(
                    host=destination.host,
                    member=destination.name if destination.way.places_members else None,
                    address=outpost.address,
                    python=outpost.python,
                    clock_offset_s=outpost.skew.offset_s,
                    clock_error_s=outpost.skew.error_s,
                )
            )
        return cls(environment, portal, [*zip(destinations, outposts, strict=True)])

    def abroad(self) -> dict[str, Abroad]:
        """By member, what placing needs. Where pdtest made the model, it is uploaded. Raises HostError."""
        found = {}
        for destination, outpost in self._reached:
            abroad = Abroad(
                address=outpost.address,
                ports=_PortsThere(self._portal, outpost),
                members=outpost.directory("_").parent,
                python=outpost.python,
                model=self._model(self._environment.hosts[destination.host], outpost),
            )
            found.update(dict.fromkeys(destination.members, abroad))
        return found

    def launcher(self, name: str, member: Member) -> Launcher | None:
        """What starts the member, if that is on one of these hosts."""
        outpost = self._outposts.get(name)
        return outpost if outpost is not None and outpost.name == member.launcher else None

    def racks(self) -> dict[str, _RackThere]:
        """By member, where its devices are leased."""
        racks = {id(outpost): _RackThere(self._portal, outpost) for outpost in self._outposts.values()}
        return {name: racks[id(outpost)] for name, outpost in self._outposts.items()}

    def _model(self, host: Host, outpost: Outpost) -> str | None:
        if host.site is not None and host.site.model is not None:
            return host.site.model
        model = self._environment.model
        return self._portal.call(outpost.bring, Path(model.path)) if model.make else None


class _PortsThere:
    """`Ports` of a host that was reached."""

    def __init__(self, portal: BlockingPortal, outpost: Outpost) -> None:
        self._portal = portal
        self._outpost = outpost

    def claim(self, port: int, address: str) -> None:
        self._portal.call(self._outpost.claim, port, address)

    def take(self, count: int, address: str) -> int:
        return self._portal.call(self._outpost.take, count, address)


class _RackThere:
    """Leases devices of a host that was reached."""

    def __init__(self, portal: BlockingPortal, outpost: Outpost) -> None:
        self.place = outpost.address
        self._portal = portal
        self._outpost = outpost

    def hold(self, kind: str, wanted: Mapping[int, str]) -> None:
        self._portal.call(self._outpost.hold, kind, wanted)

    def free(self, kind: str, devices: Collection[int]) -> None:
        self._portal.call(self._outpost.free, kind, devices)


async def _reach_all(
    environment: Environment, destinations: Sequence[Destination], owner: str
) -> list[Outpost]:
    """All or none. Raises what the first of those that failed raised."""
    reaching = [
        one.way.reach(one.name, environment.hosts[one.host], owner=owner, resources=one.resources)
        for one in destinations
    ]
    results = await asyncio.gather(*reaching, return_exceptions=True)
    outposts = [result for result in results if not isinstance(result, BaseException)]
    failures = [result for result in results if isinstance(result, BaseException)]
    if failures:
        await asyncio.gather(*(outpost.leave() for outpost in outposts))
        raise failures[0]
    return outposts
