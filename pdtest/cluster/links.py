"""Slips relays in between members: whoever is to go through one is told its port instead of the member's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlsplit

from pdtest.environment.schema import Via
from pdtest.launch.ports import Ports
from pdtest.links import Link, Relay
from pdtest.services.service import Peer, Placement, Service

#: Where members are, and under which URL.
Placed = Mapping[str, tuple[Placement, str]]


def lay(placed: Placed, services: Mapping[str, Service], leases: Ports) -> tuple[Link, ...]:
    """The links that the environment names, with ports of their own. They carry nothing yet.

    Raises NoPortsLeft.
    """
    environment = next(iter(placed.values()))[0].environment if placed else None
    return tuple(_link(via, placed, services, leases) for via in (environment.links if environment else ()))


def through(placed: Placed, links: tuple[Link, ...]) -> dict[str, tuple[Placement, str]]:
    """``placed``, with every member told of the relays that are in its way."""
    return {name: (_rerouted(placement, links), url) for name, (placement, url) in placed.items()}


def _link(via: Via, placed: Placed, services: Mapping[str, Service], leases: Ports) -> Link:
    target = placed[via.target][0]
    count = dict(services[target.member.service].ports(target.member)).get(via.port, 1)
    first = leases.take(count, target.address)
    relays = tuple(
        Relay(target.address, first + number, (target.address, target.ports[via.port] + number))
        for number in range(count)
    )
    return Link(source=via.source, target=via.target, port=via.port, relays=relays)


def _rerouted(placement: Placement, links: tuple[Link, ...]) -> Placement:
    peers = dict(placement.peers)
    announced = dict(placement.announced)
    for link in links:
        first = link.relays[0].port
        if link.target in peers and link.source in {None, placement.name}:
            peers[link.target] = _seen_through(peers[link.target], link.port, first)
        elif link.target == placement.name and link.source is None:
            announced[link.port] = first
    return replace(placement, peers=peers, announced=announced)


def _seen_through(peer: Peer, port: str, relayed: int) -> Peer:
    url = peer.url
    if port == "http":
        parts = urlsplit(url)
        url = parts._replace(netloc=f"{parts.netloc.rpartition(':')[0]}:{relayed}").geturl()
    return replace(peer, ports={**peer.ports, port: relayed}, url=url)
