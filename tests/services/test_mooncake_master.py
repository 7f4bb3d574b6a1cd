from __future__ import annotations

import json
import sys
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from pdtest.cluster.diagnosis import diagnose
from pdtest.environment.schema import Member, Role
from pdtest.services.diagnoses import COMMON
from pdtest.services.errors import RenderError
from pdtest.services.mooncake_diagnoses import MOONCAKE_DIAGNOSES
from pdtest.services.mooncake_master import MooncakeMasterService
from pdtest.services.pool import AGENT, MOONCAKE_AGENT, PoolAccess, PoolService
from pdtest.services.service import Probe

from .conftest import SAMPLES, Place

MASTER = MooncakeMasterService()
LINES: dict[str, list[str]] = yaml.safe_load((SAMPLES / "mooncake-lines.yaml").read_text(encoding="utf-8"))


def settings(**further: Any) -> dict[str, Any]:
    return {"role": Role.STORE} | further


def access(place: Place, **further: Any) -> PoolAccess:
    return MASTER.access(place(MASTER, settings(**further), name="store"))


def test_it_listens_on_the_ports_it_was_given_and_nowhere_else(place: Place) -> None:
    command = MASTER.render(place(MASTER, settings(), name="store", address="10.0.0.1"))
    assert command.argv[0].endswith("mooncake_master")
    assert command.argv[1:] == (
        "--rpc_address=10.0.0.1",
        "--rpc_port=8001",
        "--metrics_host=10.0.0.1",
        "--metrics_port=8000",
        "--enable_http_metadata_server=true",
        "--http_metadata_server_host=10.0.0.1",
        "--http_metadata_server_port=8002",
    )


def test_the_metadata_server_can_be_left_out(place: Place) -> None:
    placement = place(MASTER, settings(options={"metadata_server": False}), name="store")
    arguments = MASTER.render(placement).argv
    assert "--enable_http_metadata_server=false" in arguments
    assert not any("http_metadata_server_" in argument for argument in arguments)


def test_args_are_gflags_with_their_value_behind_an_equals_sign(place: Place) -> None:
    args = {
        "client_ttl": 2,
        "enable-metric-reporting": False,
        "eviction_ratio": 0.1,
        "etcd_endpoints": ["a:1", "b:2"],
        "dropped": None,
    }
    arguments = MASTER.render(place(MASTER, settings(args=args), name="store")).argv
    assert arguments[-4:] == (
        "--client_ttl=2",
        "--enable_metric_reporting=false",
        "--eviction_ratio=0.1",
        "--etcd_endpoints=a:1,b:2",
    )


@pytest.mark.parametrize("flag", ["port", "rpc_port", "rpc-port", "http_metadata_server_port"])
def test_ports_are_not_given_as_args(place: Place, flag: str) -> None:
    with pytest.raises(RenderError, match="under args"):
        MASTER.render(place(MASTER, settings(args={flag: 1}), name="store"))


def test_it_is_ready_when_its_health_answers(place: Place) -> None:
    assert MASTER.probe(place(MASTER, settings(), name="store")) == Probe(url="http://127.0.0.1:8000/health")


def test_clients_are_agents_that_know_the_master(place: Place) -> None:
    got = access(place)
    *program, text = got.command.argv
    assert program == [sys.executable, str(AGENT), str(MOONCAKE_AGENT), "{segment}"]
    assert json.loads(text) == {
        "host": "127.0.0.1",
        "metadata": "P2PHANDSHAKE",
        "master": "127.0.0.1:8001",
        "protocol": "tcp",
        "buffer_bytes": 64 << 20,
    }
    assert got.segment_bytes == 32 << 20
    assert AGENT.is_file()
    assert MOONCAKE_AGENT.is_file()


def test_clients_are_set_under_options(place: Place) -> None:
    options = {
        "python": "/opt/python",
        "protocol": "rdma",
        "metadata": "http",
        "segment_mib": 1,
        "buffer_mib": 2,
    }
    got = access(place, options={"client": options})
    told = json.loads(got.command.argv[-1])
    assert got.command.argv[0] == "/opt/python"
    assert got.segment_bytes == 1 << 20
    assert told["metadata"] == "http://127.0.0.1:8002/metadata"
    assert (told["protocol"], told["buffer_bytes"]) == ("rdma", 2 << 20)
    with pytest.raises(ValidationError, match="segmnt_mib"):
        access(place, options={"client": {"segmnt_mib": 1}})


def test_promises_are_those_of_the_flags(place: Place) -> None:
    args = {
        "eviction_high_watermark_ratio": 0.8,
        "eviction_ratio": 0.25,
        "default_kv_lease_ttl": "1.5s",
        "client-ttl": 3,
        "put_start_discard_timeout_sec": 4,
    }
    promises = access(place, args=args).promises
    assert promises.high == 0.8
    assert promises.low == pytest.approx(0.55)
    assert (promises.lease_s, promises.client_timeout_s, promises.put_timeout_s) == (1.5, 3.0, 4.0)


def test_promises_at_the_defaults_of_the_program(place: Place) -> None:
    promises = access(place).promises
    assert promises.high == 0.9
    assert promises.low == pytest.approx(0.85)
    assert (promises.lease_s, promises.client_timeout_s, promises.put_timeout_s) == (10.0, 10.0, 30.0)


@pytest.mark.parametrize(
    ("given", "seconds"), [(500, 0.5), ("500", 0.5), ("500ms", 0.5), ("2s", 2), ("3m", 180), ("1h", 3600)]
)
def test_leases_are_durations_as_the_master_reads_them(place: Place, given: Any, seconds: float) -> None:
    assert access(place, args={"default_kv_lease_ttl": given}).promises.lease_s == seconds


def test_a_lease_that_is_no_duration_is_an_error(place: Place) -> None:
    with pytest.raises(RenderError, match="no duration") as raised:
        access(place, args={"default_kv_lease_ttl": "5 parsecs"})
    assert raised.value.where == "members.store.args.default_kv_lease_ttl"


def test_it_makes_clients() -> None:
    assert isinstance(MASTER, PoolService)
    assert MASTER.makes_clients(Member(role=Role.STORE, service=MASTER.name))


@pytest.mark.parametrize(("name", "line"), [(name, line) for name, lines in LINES.items() for line in lines])
def test_the_line_gives_the_failure_away(name: str, line: str) -> None:
    finding = diagnose(["starting", line, "bye"], MASTER.diagnoses)
    assert finding is not None
    assert (finding.diagnosis.name, finding.line) == (name, line)


def test_every_diagnosis_of_its_own_has_its_line() -> None:
    own = {diagnosis.name for diagnosis in MOONCAKE_DIAGNOSES} - {diagnosis.name for diagnosis in COMMON}
    assert own <= set(LINES)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("E1121 08:09:11.566363 23230 master.cpp:1651] Failed to start master admin server", True),
        ("F1121 08:09:12.506702 23400 master.cpp:1608] Failed to start HTTP metadata server", True),
        ("terminate called after throwing an instance of 'std::invalid_argument'", True),
        ("E1121 09:17:16.533380 20400 master_service.cpp:6440] key=a-5, error=replica_not_ready", False),
        ("E1121 09:17:16.533380 20400 master_service.cpp:6440] key=a-5, error=invalid_slice_size", True),
        ("W1121 07:53:21.489379  7294 segment.cpp:228] segment_name=a, warn=segment_already_exists", False),
        ("I1121 08:34:20.856485 14339 master.cpp:1683] Shutdown signal received, exiting gracefully", False),
        ("WARNING: Logging before InitGoogleLogging() is written to STDERR", False),
    ],
)
def test_severities_are_glogs(line: str, error: bool) -> None:
    assert MASTER.log_rules.is_error(line) is error
