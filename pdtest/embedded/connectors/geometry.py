"""What two engines must agree on before KV can move, and who reads which heads from whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pdtest.embedded.connectors.connector import Host
from pdtest.embedded.model.memory import Heads, heads_of_rank


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Shape of an engine's KV, as said in the handshake. ``mode``: who moves the blocks, pull or push.

    vLLM compares the same and more (compute_nixl_compatibility_hash in nixl/metadata.py, 0.32).
    """

    layers: int
    kv_heads: int
    head_dim: int
    block_size: int
    mode: str

    @classmethod
    def of(cls, host: Host, mode: str) -> Geometry:
        """This engine's."""
        return cls(
            layers=host.config.layers,
            kv_heads=host.config.kv_heads,
            head_dim=host.config.head_dim,
            block_size=host.block_size,
            mode=mode,
        )

    def spoken(self) -> dict[str, Any]:
        """For the wire."""
        return asdict(self)

    def differences(self, other: Mapping[str, Any]) -> str:
        """What ``other``, as it came over the wire, has else; empty when nothing."""
        return ", ".join(
            f"{name} is {own} here and {other.get(name)} there"
            for name, own in asdict(self).items()
            if other.get(name) != own
        )


@dataclass(frozen=True, kw_only=True)
class Share:
    """Heads that tensor-parallel rank ``local`` needs and rank ``remote`` of the peer owns."""

    local: int
    remote: int
    heads: Heads


def shares(mine: Sequence[Heads], kv_heads: int, remote_ranks: int) -> list[Share]:
    """All pairs of ranks between which KV must move. Raises ValueError when heads and ranks do not divide."""
    theirs = [heads_of_rank(kv_heads, remote_ranks, rank) for rank in range(remote_ranks)]
    return [
        Share(local=local, remote=remote, heads=common)
        for local, own in enumerate(mine)
        for remote, other in enumerate(theirs)
        if (common := own.common(other)) is not None
    ]
