"""Which contracts there are, by the names that environment files use."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType

from pdtest.errors import PdtestError
from pdtest.wire.ascend_layerwise import AscendLayerwiseContract
from pdtest.wire.ascend_mooncake import AscendMooncakeContract
from pdtest.wire.ascend_store import AscendStoreContract
from pdtest.wire.contract import Contract
from pdtest.wire.example import ExampleContract
from pdtest.wire.lmcache import LmcacheContract
from pdtest.wire.lmcache_pd import LmcachePdContract
from pdtest.wire.mooncake import MooncakeContract
from pdtest.wire.multi import MultiContract
from pdtest.wire.nixl import NixlContract
from pdtest.wire.nixl_push import NixlPushContract
from pdtest.wire.p2p_nccl import P2pNcclContract

GROUP = "pdtest.contracts"


class UnknownContract(PdtestError):
    """An environment names a contract that nobody provides."""

    title = "unknown contract"

    def __init__(self, name: str, known: Sequence[str]) -> None:
        self.name = name
        nearest = difflib.get_close_matches(name, known, n=1)
        super().__init__(
            f"there is no wire contract '{name}'" + (f"; did you mean '{nearest[0]}'?" if nearest else ""),
            expected=", ".join(known),
            next_step=f"correct 'connector: contract:', or install the package that provides it ({GROUP})",
        )


class BrokenContract(PdtestError):
    """A third party's contract cannot be loaded."""

    title = "broken contract"

    def __init__(self, entry: EntryPoint, reason: Exception) -> None:
        super().__init__(
            f"the wire contract '{entry.name}' cannot be loaded",
            where=f"entry point {entry.value} in group {GROUP}",
            seen=f"{type(reason).__name__}: {reason}",
            next_step="repair or uninstall the package that provides it",
        )


@cache
def contracts() -> Mapping[str, Contract]:
    """Every contract by name: pdtest's own, then entry points. A third party may replace one.

    Raises BrokenContract.
    """
    own: tuple[Contract, ...] = (
        NixlContract(),
        NixlPushContract(),
        MooncakeContract(),
        P2pNcclContract(),
        ExampleContract(),
        LmcacheContract(),
        LmcachePdContract(),
        AscendMooncakeContract(),
        AscendLayerwiseContract(),
        AscendStoreContract(),
    )
    found = {contract.name: contract for contract in own}
    for entry in entry_points(group=GROUP):
        found[entry.name] = _load(entry)
    return MappingProxyType(found)


def contract_for(names: Sequence[str]) -> Contract:
    """The contract that an environment's ``connector: contract:`` names.

    One name is that contract; several are a MultiConnector over them, in first-hit order. Raises
    UnknownContract, BrokenContract and ParamsClash.
    """
    known = contracts()
    for name in names:
        if name not in known:
            raise UnknownContract(name, sorted(known))
    if len(names) == 1:
        return known[names[0]]
    return MultiContract(children=tuple(known[name] for name in names))


def _load(entry: EntryPoint) -> Contract:
    """An entry point is a contract, or a class or function without arguments that makes one."""
    try:
        loaded = entry.load()
        contract: Contract = loaded() if callable(loaded) else loaded
    except Exception as error:
        raise BrokenContract(entry, error) from error
    return contract
