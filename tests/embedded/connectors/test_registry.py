from __future__ import annotations

from typing import Any

import pytest

from pdtest.embedded.connectors.options import BadConfig
from pdtest.embedded.connectors.registry import connector_for

from .fakes import make_host

STORE = {"kv_connector_extra_config": {"store": "127.0.0.1:1"}}
NEEDS: dict[str, dict[str, Any]] = {
    "AscendStoreConnector": STORE,
    "LMCacheConnectorV1": {
        "kv_connector_extra_config": {"lmcache.remote_url": "lm://127.0.0.1:1", "lmcache.chunk_size": 4}
    },
    "MemcacheConnectorStoreV1": STORE,
    "MooncakeConnector": {},
    "MooncakeConnectorStoreV1": STORE,
    "MooncakeConnectorV1": {},
    "MooncakeLayerwiseConnector": {},
    "MultiConnector": {"kv_connector_extra_config": {"connectors": [{"kv_connector": "NixlConnector"}]}},
    "NixlConnector": {},
    "NixlPushConnector": {},
    "P2pNcclConnector": {"kv_port": 14579},
}
#: What vllm-ascend used to call its store.
OLDER = {
    "MemcacheConnectorStoreV1": "AscendStoreConnector",
    "MooncakeConnectorStoreV1": "AscendStoreConnector",
}


@pytest.mark.parametrize("name", NEEDS)
async def test_connectors_are_called_what_they_are_called(name: str) -> None:
    connector = connector_for({"kv_connector": name, "kv_role": "kv_both", **NEEDS[name]}, make_host())
    assert type(connector).__name__ == OLDER.get(name, name)


def test_an_unknown_connector_names_the_known_ones() -> None:
    for config in ({"kv_connector": "Nixl"}, {"kv_connector": ["x"]}, {}):
        with pytest.raises(BadConfig, match=f"one of {', '.join(NEEDS)}, got"):
            connector_for(config, make_host())


def test_no_configuration_no_connector() -> None:
    assert connector_for(None, make_host()) is None
