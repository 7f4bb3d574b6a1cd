"""Decides where members live: directories, addresses, ports, and who can reach whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar
from urllib.parse import urlsplit

from pdtest.cluster.abroad import Abroad
from pdtest.environment.schema import Environment, Member
from pdtest.errors import PdtestError
from pdtest.launch.launcher import Launcher
from pdtest.launch.ports import Ports
from pdtest.services.service import Peer, Placement, Service, base_url

_DEFAULT_PORTS = {"http": 80, "https": 443}
_Kind = TypeVar("_Kind", Service, Launcher)


class PlacementError(PdtestError):
    """The environment asks for something that does not exist, so a member has no place."""

    title = "environment"


@dataclass(frozen=True, kw_only=True)
class _Site:
    """What is known of a member before its peers are."""

    address: str
    ports: Mapping[str, int]

    def url(self, member: Member) -> str:
        """The member's base URL."""
        return base_url(member, self.address, self.ports)


def place(  # noqa: PLR0913 - by keyword, what placing needs
    environment: Environment,
    directory: Path,
    *,
    services: Mapping[str, Service],
    launchers: Mapping[str, Launcher],
    leases: Ports,
    abroad: Mapping[str, Abroad] = MappingProxyType({}),
) -> dict[str, tuple[Placement, str]]:
    """Placement and base URL of each member, in the environment file's order.

    ``leases`` are for this machine; ``abroad`` is what members on others have there, by member. Raises
    PlacementError, PortTaken, NoPortsLeft.
    """
    members = {
        name: _at_home(member, abroad[name], services) if name in abroad else member
        for name, member in environment.members.items()
    }
    ports_at = {name: site.ports for name, site in abroad.items()}
    addresses = {name: _address(environment, name, abroad) for name in members}
    wanted = {
        name: _wanted_ports(name, member, known(services, member.service, name, "service"))
        for name, member in members.items()
        if known(launchers, member.launcher, name, "launcher").starts
    }
    for name, ports in wanted.items():  # before any port is chosen, so that no choice takes a fixed one
        _claim_fixed(members[name], ports, addresses[name], ports_at.get(name, leases))
    sites = {
        name: _choose(member, wanted[name], addresses[name], ports_at.get(name, leases))
        if name in wanted
        else _attached(name, member)
        for name, member in members.items()
    }
    peers = {name: _peer(name, members[name], site) for name, site in sites.items()}
    return {
        name: (
            Placement(
                environment=environment,
                name=name,
                member=member,
                directory=(abroad[name].members if name in abroad else directory / "members") / name,
                address=sites[name].address,
                ports=sites[name].ports,
                peers={other: peer for other, peer in peers.items() if other != name},
                abroad=name in abroad,
                model=abroad[name].model if name in abroad else None,
            ),
            sites[name].url(member),
        )
        for name, member in members.items()
    }


def known(registry: Mapping[str, _Kind], wanted: str, member: str, kind: str) -> _Kind:
    """The service or launcher called ``wanted``. Raises PlacementError that names those there are."""
    if wanted in registry:
        return registry[wanted]
    near = get_close_matches(wanted, registry, n=1)
    raise PlacementError(
        f"member '{member}' asks for the {kind} '{wanted}', which is not known",
        expected=f"one of: {', '.join(sorted(registry))}",
        next_step=f"write '{near[0]}'"
        if near
        else f"correct it, or install the package that provides the {kind}",
    )


def _wanted_ports(name: str, member: Member, service: Service) -> Mapping[str, int]:
    """Port names and how many consecutive ports each needs."""
    wanted = service.ports(member)
    unknown = [port for port in member.ports if port not in wanted]
    if unknown:
        raise PlacementError(
            f"member '{name}' sets the port '{unknown[0]}', which {service.name} does not have",
            expected=f"one of: {', '.join(wanted)}",
            next_step=f"correct or drop it under members.{name}.ports",
        )
    return wanted


def _at_home(member: Member, host: Abroad, services: Mapping[str, Service]) -> Member:
    """Of a member on another machine: the interpreter is that machine's unless one is named."""
    service = services.get(member.service)
    has_python = service is not None and "python" in service.options_type.model_fields
    if not has_python or member.options.get("python"):
        return member
    return member.model_copy(update={"options": {**member.options, "python": host.python}})


def _address(environment: Environment, name: str, abroad: Mapping[str, Abroad]) -> str:
    if name in abroad:
        return abroad[name].address
    host = environment.members[name].host
    if host not in environment.hosts:
        raise PlacementError(
            f"member '{name}' runs on the host '{host}', which is not under hosts",
            expected=f"one of: {', '.join(environment.hosts)}",
            next_step=f"add '{host}' under hosts, or correct members.{name}.host",
        )
    return environment.hosts[host].address


def _claim_fixed(member: Member, ports: Mapping[str, int], address: str, leases: Ports) -> None:
    for port_name, count in ports.items():
        first = member.ports.get(port_name, "auto")
        if first != "auto":
            for port in range(first, first + count):
                leases.claim(port, address)


def _choose(member: Member, ports: Mapping[str, int], address: str, leases: Ports) -> _Site:
    chosen: dict[str, int] = {}
    for port_name, count in ports.items():
        fixed = member.ports.get(port_name, "auto")
        chosen[port_name] = leases.take(count, address) if fixed == "auto" else fixed
    return _Site(address=address, ports=chosen)


def _attached(name: str, member: Member) -> _Site:
    """Address and HTTP port out of the URL; further ports, if any, as the file gives them."""
    parts = urlsplit(member.url or "")
    if not parts.hostname:
        raise PlacementError(
            f"member '{name}' is attached to, and has no usable url",
            expected="http://host:port",
            seen=member.url or "nothing",
            next_step=f"set members.{name}.url to where it answers",
        )
    http = parts.port or _DEFAULT_PORTS.get(parts.scheme, 80)
    given = {port_name: port for port_name, port in member.ports.items() if port != "auto"}
    return _Site(address=parts.hostname, ports={"http": http} | given)


def _peer(name: str, member: Member, site: _Site) -> Peer:
    return Peer(
        name=name,
        role=member.role,
        address=site.address,
        ports=site.ports,
        url=site.url(member),
        standby=member.standby,
    )
