from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from pdtest.environment.schema import Member, Role
from pdtest.services.errors import RenderError
from pdtest.services.mmc_meta_service import MmcMetaService
from pdtest.services.pool import AGENT, MEMCACHE_AGENT, PoolAccess, PoolService

from .conftest import Place

META = MmcMetaService()
SETTINGS = {
    "ock.mmc.local_service.protocol": "device_sdma",
    "ock.mmc.local_service.dram.size": "1GB",
    "ock.mmc.client.timeout.seconds": 5,
}


def options(**client: Any) -> dict[str, Any]:
    thresholds = {"ock.mmc.evict_threshold_high": 70, "ock.mmc.evict_threshold_low": 60}
    return {"settings": thresholds, "client": {"settings": SETTINGS} | client}


def access(place: Place, given: dict[str, Any]) -> PoolAccess:
    return META.access(place(META, {"role": Role.STORE, "options": given}, name="store"))


def test_a_client_reads_a_file_of_its_own_with_the_members_urls(place: Place) -> None:
    command = access(place, options()).command
    assert command.env == {"MMC_LOCAL_CONFIG_PATH": "{directory}/mmc-local.conf"}
    ports = META.ports(Member(role=Role.STORE, service=META.name))
    meta, config = 8000 + list(ports).index("meta"), 8000 + list(ports).index("config")
    assert set(command.files["mmc-local.conf"].splitlines()[1:]) == {
        f"ock.mmc.meta_service_url = tcp://127.0.0.1:{meta}",
        f"ock.mmc.local_service.config_store_url = tcp://127.0.0.1:{config}",
        "ock.mmc.local_service.protocol = device_sdma",
        "ock.mmc.local_service.dram.size = 1GB",
        "ock.mmc.local_service.hbm.size = 0",
        "ock.mmc.client.timeout.seconds = 5",
    }


def test_vendor_scripts_are_sourced_before_the_agent(place: Place) -> None:
    argv = access(place, options(python="/opt/python", device=3, set_env=["/cann/set_env.sh"])).command.argv
    assert argv[0] == "bash"
    assert "source /cann/set_env.sh" in argv[2]
    *program, settings = argv[-5:]
    assert program == ["/opt/python", str(AGENT), str(MEMCACHE_AGENT), "{segment}"]
    assert json.loads(settings) == {"device": 3}
    assert MEMCACHE_AGENT.is_file()


def test_promises_are_those_of_both_files(place: Place) -> None:
    promises = access(place, options()).promises
    assert (promises.high, promises.low, promises.client_timeout_s) == (0.7, 0.6, 5.0)
    assert not promises.spectators
    assert access(place, options()).segment_bytes == 1 << 30


def test_where_nothing_is_said_the_programs_defaults_hold(place: Place) -> None:
    bare = {name: value for name, value in SETTINGS.items() if "client" not in name}
    promises = access(place, {"client": {"settings": bare}}).promises
    assert (promises.high, promises.low, promises.client_timeout_s) == (0.9, 0.8, 60.0)


def test_only_a_member_that_says_how_makes_clients(place: Place) -> None:
    assert isinstance(META, PoolService)
    assert not META.makes_clients(Member(role=Role.STORE, service=META.name))
    assert META.makes_clients(Member(role=Role.STORE, service=META.name, options=options()))
    with pytest.raises(RenderError, match="no clients for tests"):
        access(place, {})


def test_settings_are_checked_by_name(place: Place) -> None:
    wrong = options(settings=SETTINGS | {"ock.mmc.local_service.dram.size": "1GB and a bit"})
    with pytest.raises(ValidationError, match=r"ock\.mmc\.local_service\.dram\.size"):
        access(place, wrong)
