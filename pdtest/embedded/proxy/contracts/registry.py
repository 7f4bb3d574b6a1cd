"""Which contracts there are, by the names that ``--contract`` takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from pdtest.embedded.connections import Connections
from pdtest.embedded.proxy.contracts.ascend_layerwise import AscendLayerwiseContract
from pdtest.embedded.proxy.contracts.ascend_mooncake import AscendMooncakeContract
from pdtest.embedded.proxy.contracts.ascend_store import AscendStoreContract
from pdtest.embedded.proxy.contracts.contract import Contract
from pdtest.embedded.proxy.contracts.example import ExampleContract
from pdtest.embedded.proxy.contracts.lmcache import LmcacheContract
from pdtest.embedded.proxy.contracts.mooncake import MooncakeContract
from pdtest.embedded.proxy.contracts.multi import MultiContract
from pdtest.embedded.proxy.contracts.nixl import NixlContract
from pdtest.embedded.proxy.contracts.nixl_push import NixlPushContract
from pdtest.embedded.proxy.contracts.p2p_nccl import P2pNcclContract


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a contract may need of the proxy: its connections, and where it can be reached."""

    connections: Connections
    metaserver: str


CONTRACTS: Mapping[str, Callable[[Surroundings], Contract]] = MappingProxyType(
    {
        NixlContract.name: lambda _: NixlContract(),
        NixlPushContract.name: lambda _: NixlPushContract(),
        MooncakeContract.name: lambda around: MooncakeContract(around.connections),
        P2pNcclContract.name: lambda _: P2pNcclContract(),
        AscendMooncakeContract.name: lambda _: AscendMooncakeContract(),
        AscendLayerwiseContract.name: lambda around: AscendLayerwiseContract(around.metaserver),
        AscendStoreContract.name: lambda _: AscendStoreContract(),
        ExampleContract.name: lambda _: ExampleContract(),
        LmcacheContract.name: lambda _: LmcacheContract(),
    }
)


def contract_for(names: Sequence[str], around: Surroundings) -> Contract:
    """One name is that contract; several are a composition, led by the first. Raises KeyError."""
    children = tuple(CONTRACTS[name](around) for name in names)
    return children[0] if len(children) == 1 else MultiContract(children=children)
