from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from pdtest.environment.schema import DeviceKind, Devices, Member, Role
from pdtest.services.errors import RenderError
from pdtest.services.mmc_meta_service import MmcMetaService
from pdtest.services.service import Command
from pdtest.services.vllm import VllmService
from pdtest.services.vllm_ascend import VllmAscendService

from .conftest import Place

ASCEND, META = VllmAscendService(), MmcMetaService()
MOONCAKE = {"local_hostname": "node1", "master_server_address": "node1:50088"}
MEMCACHE = {
    "ock.mmc.meta_service_url": "tcp://${members.store.address}:${members.store.ports.meta}",
    "ock.mmc.local_service.config_store_url": "tcp://${members.store.address}:${members.store.ports.config}",
    "ock.mmc.local_service.protocol": "device_sdma",
    "ock.mmc.local_service.dram.size": "1GB",
}
STORE: dict[str, Any] = {"store": {"role": Role.STORE, "service": META.name}}


def _rendered(place: Place, settings: dict[str, Any], **further: Any) -> Command:
    return ASCEND.render(place(ASCEND, settings, further=[META], **further))


def test_without_anything_of_ascend_it_is_vllm_but_for_nixls_port(place: Place) -> None:
    command, plain = _rendered(place, {}), VllmService().render(place(VllmService(), {}))
    assert (command.argv, command.files) == (plain.argv, {})
    assert command.env == {}


def test_cann_is_sourced_first(place: Place) -> None:
    argv = _rendered(place, {"options": {"set_env": ["/cann/set_env.sh", "/nnal/set_env.sh"]}}).argv
    assert argv[2] == 'set_env() { source /cann/set_env.sh; source /nnal/set_env.sh; }; set_env; exec "$@"'
    assert argv[4:7] == (sys.executable, "-m", "vllm.entrypoints.openai.api_server")


def test_devices_are_made_visible(place: Place) -> None:
    devices = Devices(kind=DeviceKind.ASCEND, ids=(0, 1, 2, 3))
    assert _rendered(place, {"devices": [2, 3]}, devices=devices).env == {"ASCEND_RT_VISIBLE_DEVICES": "2,3"}


def test_files_are_written_and_named_by_variables(place: Place) -> None:
    command = _rendered(place, {"options": {"mooncake": MOONCAKE, "memcache": MEMCACHE}}, others=STORE)
    assert command.env == {
        "MOONCAKE_CONFIG_PATH": "/run/members/decode/mooncake.json",
        "MMC_LOCAL_CONFIG_PATH": "/run/members/decode/mmc-local.conf",
    }
    assert json.loads(command.files["mooncake.json"])["metadata_server"] == "P2PHANDSHAKE"
    assert command.files["mmc-local.conf"] == (
        "# Written by pdtest for the member 'decode'.\n"
        "ock.mmc.meta_service_url = tcp://127.0.0.1:8100\n"
        "ock.mmc.local_service.config_store_url = tcp://127.0.0.1:8101\n"
        "ock.mmc.local_service.protocol = device_sdma\n"
        "ock.mmc.local_service.dram.size = 1GB\n"
        "ock.mmc.local_service.hbm.size = 0\n"
    )


def test_an_engine_without_connector_needs_no_files(place: Place) -> None:
    options = {"mooncake": MOONCAKE, "memcache": MEMCACHE}
    command = _rendered(place, {"role": Role.COLOCATED, "options": options}, others=STORE)
    assert (command.env, command.files) == ({}, {})


def test_what_the_member_says_itself_wins(place: Place) -> None:
    settings = {
        "options": {"mooncake": MOONCAKE},
        "env": {"MOONCAKE_CONFIG_PATH": "/etc/mooncake.json"},
        "files": {"mooncake.json": "mine"},
    }
    command = _rendered(place, settings)
    assert command.env == {"MOONCAKE_CONFIG_PATH": "/etc/mooncake.json"}
    assert command.files == {"mooncake.json": "mine"}


def test_tls_files_of_the_local_service_must_be_there(place: Place) -> None:
    memcache = MEMCACHE | {"ock.mmc.tls.enable": True}
    with pytest.raises(
        RenderError, match=r"ock\.mmc\.tls\.ca\.path of member 'decode' names no file"
    ) as caught:
        _rendered(place, {"options": {"memcache": memcache}}, others=STORE)
    assert caught.value.where == "members.decode.options.memcache.ock.mmc.tls.ca.path"


@pytest.mark.parametrize(
    ("settings", "ports"),
    [
        ({"role": "prefill"}, {"http": 1, "kv": 1}),
        (
            {"role": "prefill", "args": {"tensor-parallel-size": 2, "data_parallel_size": 2}},
            {"http": 1, "kv": 4},
        ),
        ({"role": "decode", "args": {"tensor-parallel-size": 2}}, {"http": 1}),
        (
            {"role": "decode", "ports": {"kv": 30101}, "args": {"tensor-parallel-size": 2}},
            {"http": 1, "kv": 2},
        ),
        ({"role": "colocated"}, {"http": 1}),
    ],
)
def test_who_listens_for_handshakes(settings: dict[str, Any], ports: dict[str, int]) -> None:
    assert ASCEND.ports(Member.model_validate({"service": ASCEND.name} | settings)) == ports


POOLED = {
    "config": {
        "kv_connector": "MultiConnector",
        "kv_connector_extra_config": {"connectors": [{"kv_connector": "AscendStoreConnector"}]},
    }
}
PREFILL: dict[str, Any] = {"role": Role.PREFILL}


@pytest.mark.parametrize("seed", ["0", 0, "42"])
def test_engines_that_hash_alike_may_share_a_store(seed: object, place: Place) -> None:
    env = {"env": {"PYTHONHASHSEED": seed}}
    command = _rendered(place, env, others={"prefill": PREFILL | env}, connector=POOLED)
    assert command.env == {"PYTHONHASHSEED": str(seed)}


@pytest.mark.parametrize(
    ("decode", "prefill", "seen"),
    [
        ({}, {}, "decode: not set, prefill: not set"),
        ({"PYTHONHASHSEED": "0"}, {}, "decode: 0, prefill: not set"),
        ({"PYTHONHASHSEED": "0"}, {"PYTHONHASHSEED": "1"}, "decode: 0, prefill: 1"),
        ({"PYTHONHASHSEED": "random"}, {"PYTHONHASHSEED": "random"}, "decode: random, prefill: random"),
    ],
)
def test_engines_that_do_not_would_never_find_a_block(
    decode: dict[str, str], prefill: dict[str, str], seen: str, place: Place
) -> None:
    with pytest.raises(RenderError, match="must hash alike") as caught:
        _rendered(place, {"env": decode}, others={"prefill": PREFILL | {"env": prefill}}, connector=POOLED)
    assert caught.value.seen == seen
    assert caught.value.where == "members.decode.env.PYTHONHASHSEED"


@pytest.mark.parametrize("connector", ["MemcacheConnectorStoreV1", "MooncakeConnectorStoreV1"])
def test_older_spellings_of_the_store_count_too(connector: str, place: Place) -> None:
    with pytest.raises(RenderError, match="must hash alike"):
        _rendered(place, {}, connector={"config": {"kv_connector": connector}})


def test_peer_to_peer_nobody_hashes(place: Place) -> None:
    command = _rendered(place, {}, connector={"config": {"kv_connector": "MooncakeConnectorV1"}})
    assert command.argv[-1] == '{"kv_connector":"MooncakeConnectorV1"}'


@pytest.mark.parametrize(
    ("line", "is_error"),
    [
        (
            "E20260106 06:43:02.966156  5793 ascend_direct_transport.cpp:820] Failed to connect to target",
            True,
        ),
        ("E0419 16:59:47.826516 19842 ascend_direct_transport.cpp:487] Register mem ret:207000.", True),
        ("W20260106 06:43:02.966156  5793 topology.cpp:58] No RDMA devices found", False),
        (
            "[ERROR] 2025-04-16-13:55:33 (PID:2867459, Device:-1) ERR99999 UNKNOWN applicaiton exception",
            False,
        ),
        ("(EngineCore_DP0 pid=5704) ERROR 01-06 06:43:02 [mooncake_connector.py:419] failed", True),
    ],
)
def test_which_lines_are_errors(line: str, is_error: bool) -> None:
    assert ASCEND.log_rules.is_error(line) is is_error
