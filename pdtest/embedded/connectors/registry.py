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


def connector_for(config: Mapping[str, Any] | None, host: Host) -> Connector | None:
    """The connector that ``config`` names; None without one. Raises BadConfig."""
    if config is None:
        return None
    name = config.get("kv_connector")
    known = _CONNECTORS.get(name) if isinstance(name, str) else None
    if known is None:
        raise BadConfig("kv_connector", f"one of {', '.join(sorted(_CONNECTORS))}", name)
    # Imported when it is asked for: an engine starts faster without the others.
    module = import_module(f"{__package__}.{known[0]}")
    make: Callable[[Mapping[str, Any], Host], Connector] = getattr(module, known[1])
    return make(config, host)
