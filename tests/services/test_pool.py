from __future__ import annotations

import json

import pytest

from pdtest.embedded.store.settings import StoreSettings
from pdtest.environment.schema import Member, Role
from pdtest.services.embedded_store import DEFAULTS, EmbeddedStoreService
from pdtest.services.pool import EMBEDDED_AGENT, PoolService
from pdtest.services.vllm import VllmService

from .conftest import Place

STORE = EmbeddedStoreService()


def test_the_embedded_store_is_a_pool_and_an_engine_is_none() -> None:
    assert isinstance(STORE, PoolService)
    assert STORE.makes_clients(Member(role=Role.STORE, service=STORE.name))
    assert not isinstance(VllmService(), PoolService)


def test_clients_of_the_embedded_store_know_its_meta_process(place: Place) -> None:
    options = {"client_segment_mib": 2, "client_timeout_s": 1.5}
    access = STORE.access(place(STORE, {"role": Role.STORE, "options": options}, name="store"))
    assert access.command.argv[2] == str(EMBEDDED_AGENT)
    assert EMBEDDED_AGENT.is_file()
    assert json.loads(access.command.argv[-1]) == {
        "address": "127.0.0.1:8001",
        "host": "127.0.0.1",
        "timeout_s": 1.5,
    }
    assert access.segment_bytes == 2 << 20
    assert access.promises.transfer_timeout_s == 1.5
    assert access.gauges.url == "http://127.0.0.1:8000/metrics"


def test_promises_of_the_embedded_store_are_those_of_its_flags(place: Place) -> None:
    args = {"high-watermark": 0.5, "low_watermark": 0.4, "lease": 7, "put-timeout": 8, "client-timeout": 9}
    promises = STORE.access(place(STORE, {"role": Role.STORE, "args": args}, name="store")).promises
    assert (promises.high, promises.low, promises.lease_s) == (0.5, 0.4, 7)
    assert (promises.put_timeout_s, promises.client_timeout_s) == (8, 9)


@pytest.mark.parametrize("flag", DEFAULTS)
def test_promises_know_the_programs_defaults(flag: str) -> None:
    assert DEFAULTS[flag] == getattr(StoreSettings(), flag.replace("-", "_"))
