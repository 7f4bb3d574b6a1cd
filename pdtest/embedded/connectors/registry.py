"""Connectors by the names that --kv-transfer-config calls them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from pdtest.embedded.connectors.connector import Connector, Host
from pdtest.embedded.connectors.options import BadConfig

#: Module of this package, and class.
_CONNECTORS: Mapping[str, tuple[str, str]] = {
    "AscendStoreConnector": ("store", "AscendStoreConnector"),
    "LMCacheConnectorV1": ("lmcache", "LMCacheConnectorV1"),
    # Two older spellings of AscendStoreConnector.
    "MemcacheConnectorStoreV1": ("store", "AscendStoreConnector"),
    "MooncakeConnector": ("mooncake", "MooncakeConnector"),
    "MooncakeConnectorStoreV1": ("store", "AscendStoreConnector"),
    "MooncakeConnectorV1": ("ascend", "MooncakeConnectorV1"),
    "MooncakeLayerwiseConnector": ("layerwise", "MooncakeLayerwiseConnector"),
    "MultiConnector": ("multi", "MultiConnector"),
    "NixlConnector": ("nixl", "NixlConnector"),
    "NixlPushConnector": ("nixl_push", "NixlPushConnector"),
    "P2pNcclConnector": ("p2p", "P2pNcclConnector"),
}


#: Where --fault-lifetime can plant its bugs.
_MISLAID = "NixlConnector"


def connector_for(
    config: Mapping[str, Any] | None, host: Host, fault_lifetime: str | None = None
) -> Connector | None:
    """The connector that ``config`` names; None without one. Raises BadConfig.

    ``fault_lifetime``: a bug in how long KV lives is planted in it, see `MislaidNixlConnector`.
    """
    if config is None:
        return None
    name = config.get("kv_connector")
    known = _CONNECTORS.get(name) if isinstance(name, str) else None
    if known is None:
        raise BadConfig("kv_connector", f"one of {', '.join(sorted(_CONNECTORS))}", name)
    if fault_lifetime is not None:
        if name != _MISLAID:
            raise BadConfig("kv_connector", f"{_MISLAID}, the one that --fault-lifetime is for", name)
        from pdtest.embedded.connectors.mislaid import MislaidNixlConnector

        return MislaidNixlConnector(config, host, fault_lifetime)
    # Imported when it is asked for: an engine starts faster without the others.
    module = import_module(f"{__package__}.{known[0]}")
    make: Callable[[Mapping[str, Any], Host], Connector] = getattr(module, known[1])
    return make(config, host)
