"""LMCache over a shared store: nothing is said on the wire."""

from __future__ import annotations

from pdtest.embedded.proxy.contracts.plain import PlainContract


class LmcacheContract(PlainContract):
    """LMCacheConnectorV1, not in its PD mode."""

    name = "lmcache"
