"""The hosts of an environment that are not this machine: reached before placing, left at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
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
    """What placing members on such a host needs. ``model``: where the model is there, if not as here."""

    ports: Ports
    members: Path
    python: str
    model: str | None


def needed(environment: Environment, launchers: Mapping[str, Launcher]) -> dict[str, Reaching]:
    """By name, the hosts that must be reached, and what gets there."""
    ways = ((member.host, launchers.get(member.launcher)) for member in environment.members.values())
    return {host: way for host, way in ways if isinstance(way, Reaching) and host in environment.hosts}


def foreseen(
    environment: Environment, launchers: Mapping[str, Launcher], directory: Path, ports: Ports
) -> dict[str, Abroad]:
    """As `Hosts.abroad`, without going anywhere: for whoever will start members there by hand."""
    return {
        name: Abroad(
            ports=ports,
            members=directory / "members",
            python=ssh.python if (ssh := environment.hosts[name].ssh) else "",
            model=ssh.model if ssh else None,
        )
        for name in needed(environment, launchers)
    }


class Hosts:
    """Hosts that were reached. Used from threads other than the loop's."""

    def __init__(
        self, environment: Environment, portal: BlockingPortal, outposts: Mapping[str, Outpost]
    ) -> None:
        self._environment = environment
        self._portal = portal
        self.outposts = outposts

    @classmethod
    def reach(  # noqa: PLR0913 - by keyword, what reaching needs
        cls,
        environment: Environment,
        ways: Mapping[str, Reaching],
        *,
        owner: str,
        portal: BlockingPortal,
        journal: Journal,
        resources: ExitStack,
    ) -> Hosts:
        """All at once; ``resources`` leave them. Raises HostError."""
        outposts = portal.call(_reach_all, environment, ways, f"{owner}-{environment.name}")
        for name, outpost in outposts.items():
            resources.callback(portal.call, outpost.leave)
            journal.append(
                HostReached(
                    host=name,
                    address=environment.hosts[name].address,
                    python=outpost.python,
                    clock_offset_s=outpost.skew.offset_s,
                    clock_error_s=outpost.skew.error_s,
                )
            )
        return cls(environment, portal, outposts)

    def abroad(self) -> dict[str, Abroad]:
        """By name, what placing needs. Where pdtest made the model, it is uploaded. Raises HostError."""
        return {
            name: Abroad(
                ports=_PortsThere(self._portal, outpost),
                members=outpost.directory("_").parent,
                python=outpost.python,
                model=self._model(self._environment.hosts[name], outpost),
            )
            for name, outpost in self.outposts.items()
        }

    def launcher(self, member: Member) -> Launcher | None:
        """What starts ``member``, if that is on one of these hosts."""
        outpost = self.outposts.get(member.host)
        return outpost if outpost is not None and outpost.name == member.launcher else None

    def hold_devices(self) -> None:
        """Lease the chips that members there ask for, unless they are for several. Raises DeviceTaken."""
        for name, member in self._environment.members.items():
            devices = self._environment.hosts[member.host].devices
            if member.host in self.outposts and devices is not None and not devices.shared and member.devices:
                hold = self.outposts[member.host].hold
                self._portal.call(hold, devices.kind.value, member.devices, f"member '{name}'")

    def _model(self, host: Host, outpost: Outpost) -> str | None:
        if host.ssh is not None and host.ssh.model is not None:
            return host.ssh.model
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


async def _reach_all(
    environment: Environment, ways: Mapping[str, Reaching], owner: str
) -> dict[str, Outpost]:
    """All or none. Raises what the first of those that failed raised."""
    reaching = [way.reach(name, environment.hosts[name], owner=owner) for name, way in ways.items()]
    results = await asyncio.gather(*reaching, return_exceptions=True)
    outposts = {
        name: result
        for name, result in zip(ways, results, strict=True)
        if not isinstance(result, BaseException)
    }
    failures = [result for result in results if isinstance(result, BaseException)]
    if failures:
        await asyncio.gather(*(outpost.leave() for outpost in outposts.values()))
        raise failures[0]
    return outposts
