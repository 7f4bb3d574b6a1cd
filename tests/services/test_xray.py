from __future__ import annotations

from pathlib import Path

from pdtest.services.embedded_engine import EmbeddedEngineService
from pdtest.services.toy_proxy import ToyProxyService
from pdtest.services.vllm import VllmService
from pdtest.services.vllm_ascend import VllmAscendService
from pdtest.services.xray import Xrayed, probed

THERE = Path("/run/xray/prefill")


def test_a_connector_keeps_its_name_and_its_settings() -> None:
    config = {"kv_connector": "NixlConnector", "kv_connector_extra_config": {"kv_lease_duration": 5}}
    assert probed(config, THERE) == {
        "kv_connector": "NixlConnector",
        "kv_connector_module_path": "pdtest.probe.connector",
        "kv_connector_extra_config": {"kv_lease_duration": 5, "xray_directory": "/run/xray/prefill"},
    }


def test_one_of_a_module_of_its_own_is_named_with_it() -> None:
    config = {"kv_connector": "Mine", "kv_connector_module_path": "some.module"}
    told = probed(config, THERE)
    assert told is not None
    assert told["kv_connector"] == "some.module:Mine"
    assert told["kv_connector_module_path"] == "pdtest.probe.connector"


def test_nothing_is_added_without_an_xray_or_a_connector() -> None:
    assert probed({"kv_connector": "NixlConnector"}, None) == {"kv_connector": "NixlConnector"}
    assert probed(None, THERE) is None


def test_engines_can_be_xrayed_and_nothing_else() -> None:
    assert all(isinstance(one(), Xrayed) for one in (VllmService, VllmAscendService, EmbeddedEngineService))
    assert not isinstance(ToyProxyService(), Xrayed)
