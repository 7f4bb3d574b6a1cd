"""The instances a proxy is told about."""

from __future__ import annotations

from dataclasses import replace

from pdtest.environment.schema import Role
from pdtest.services.errors import RenderError
from pdtest.services.service import Peer, Placement


def prefills_and_decodes(
    placement: Placement, *, through: str | None = None
) -> tuple[tuple[Peer, ...], tuple[Peer, ...]]:
    """All prefill and all decode members; where the proxy reaches them ``through`` a gateway, its two ports.

    Raises RenderError when one side is empty, or there is no such gateway.
    """
    sides = placement.peers_with(Role.PREFILL), placement.peers_with(Role.DECODE)
    for role, side in zip((Role.PREFILL, Role.DECODE), sides, strict=True):
        if not side:
            raise RenderError(
                f"proxy '{placement.name}' has no {role} instance to send requests to",
                where=f"members.{placement.name}",
                expected=f"at least one member with role: {role}",
                seen="none",
            )
    return sides if through is None else _by_way_of(_gateway(placement, through))


def _gateway(placement: Placement, name: str) -> Peer:
    sides = {"prefill", "decode"}
    gateways = {peer: one for peer, one in placement.peers.items() if sides <= set(one.ports)}
    if name not in gateways:
        raise RenderError(
            f"proxy '{placement.name}' reaches its engines through no gateway",
            where=f"members.{placement.name}.options.through",
            expected=f"one of {', '.join(gateways)}" if gateways else "a member with service: mutant-gateway",
            seen=name,
        )
    return gateways[name]


def _by_way_of(gateway: Peer) -> tuple[tuple[Peer, ...], tuple[Peer, ...]]:
    """A prefill and a decode, at the gateway's ports for them."""
    prefill, decode = (_at(gateway, gateway.ports[side]) for side in ("prefill", "decode"))
    return (prefill,), (decode,)


def _at(gateway: Peer, port: int) -> Peer:
    url = gateway.url.removesuffix(f":{gateway.ports['http']}") + f":{port}"
    return replace(gateway, ports={**gateway.ports, "http": port}, url=url)


def paired_lists(side: str, peers: tuple[Peer, ...]) -> dict[str, list[str | int]]:
    """The toy proxy's flags for one side: hosts and ports, paired by position."""
    return {
        f"{side}-hosts": [peer.address for peer in peers],
        f"{side}-ports": [peer.ports["http"] for peer in peers],
    }
