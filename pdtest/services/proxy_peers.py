"""The instances a proxy is told about."""

from __future__ import annotations

from pdtest.environment.schema import Role
from pdtest.services.errors import RenderError
from pdtest.services.service import Peer, Placement


def prefills_and_decodes(placement: Placement) -> tuple[tuple[Peer, ...], tuple[Peer, ...]]:
    """All prefill and all decode members. Raises RenderError when one side is empty."""
    sides = placement.peers_with(Role.PREFILL), placement.peers_with(Role.DECODE)
    for role, side in zip((Role.PREFILL, Role.DECODE), sides, strict=True):
        if not side:
            raise RenderError(
                f"proxy '{placement.name}' has no {role} instance to send requests to",
                where=f"members.{placement.name}",
                expected=f"at least one member with role: {role}",
                seen="none",
            )
    return sides


def paired_lists(side: str, peers: tuple[Peer, ...]) -> dict[str, list[str | int]]:
    """The toy proxy's flags for one side: hosts and ports, paired by position."""
    return {
        f"{side}-hosts": [peer.address for peer in peers],
        f"{side}-ports": [peer.ports["http"] for peer in peers],
    }
