"""Connectors by the names that --kv-transfer-config calls them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pdtest.embedded.connectors.connector import Connector, Host
from pdtest.embedded.connectors.options import BadConfig


def connector_for(config: Mapping[str, Any] | None, host: Host) -> Connector | None:
    """The connector that ``config`` names; None without one. Raises BadConfig."""
    if config is None:
        return None
    name = config.get("kv_connector")
    make = _CONNECTORS.get(name) if isinstance(name, str) else None
    if make is None:
        raise BadConfig("kv_connector", f"one of {', '.join(sorted(_CONNECTORS))}", name)
    return make(config, host)


def _nixl(config: Mapping[str, Any], host: Host) -> Connector:
    from pdtest.embedded.connectors.nixl import NixlConnector

    return NixlConnector(config, host)


def _nixl_push(config: Mapping[str, Any], host: Host) -> Connector:
    from pdtest.embedded.connectors.nixl_push import NixlPushConnector

    return NixlPushConnector(config, host)


def _mooncake(config: Mapping[str, Any], host: Host) -> Connector:
    from pdtest.embedded.connectors.mooncake import MooncakeConnector

    return MooncakeConnector(config, host)


def _p2p(config: Mapping[str, Any], host: Host) -> Connector:
    from pdtest.embedded.connectors.p2p import P2pNcclConnector

    return P2pNcclConnector(config, host)


def _layerwise(config: Mapping[str, Any], host: Host) -> Connector:
    from pdtest.embedded.connectors.layerwise import MooncakeLayerwiseConnector

    return MooncakeLayerwiseConnector(config, host)


def _ascend(config: Mapping[str, Any], host: Host) -> Connector:
    from pdtest.embedded.connectors.ascend import MooncakeConnectorV1

    return MooncakeConnectorV1(config, host)


def _multi(config: Mapping[str, Any], host: Host) -> Connector:
    from pdtest.embedded.connectors.multi import MultiConnector

    return MultiConnector(config, host, connector_for)


def _store(config: Mapping[str, Any], host: Host) -> Connector:
    from pdtest.embedded.connectors.store import AscendStoreConnector

    return AscendStoreConnector(config, host)


# Each is imported when it is asked for: an engine starts faster without the others.
_CONNECTORS: Mapping[str, Callable[[Mapping[str, Any], Host], Connector]] = {
    "AscendStoreConnector": _store,
    "MooncakeConnector": _mooncake,
    "MooncakeConnectorV1": _ascend,
    "MooncakeLayerwiseConnector": _layerwise,
    "MultiConnector": _multi,
    "NixlConnector": _nixl,
    "NixlPushConnector": _nixl_push,
    "P2pNcclConnector": _p2p,
}
