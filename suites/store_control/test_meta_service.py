"""The life of memcache's meta service: it takes its config, says what it counts, ends and comes back.

It runs without an NPU. What needs one, its local service, is tried too: either it refuses for a reason that
is known, and the reason is shown, or objects go in and come out.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from pdtest.client.endpoint import Endpoint
from pdtest.cluster.cluster import Cluster
from pdtest.cluster.diagnosis import diagnose
from pdtest.cluster.member import RunningMember
from pdtest.services.mmc_diagnoses import MMC
from pdtest.services.mmc_local_settings import LocalSettings
from pdtest.services.mmc_settings import conf

_OPERATIONS = ("alloc", "get", "remove", "exist_key", "query", "mount", "unmount")
_BATCHES = ("alloc", "get", "remove", "exist_key", "query")
_GAUGES = ("memcache_stored_keys", "memcache_total_capacity_bytes", "memcache_allocated_bytes")
_LOG = "logs/mmc-meta.log"
#: Errors are written at once; other lines wait until there are some KiB of them (1.3.0).
_WRITTEN_WITHIN_S = 10
#: A process that hangs in the driver or waits for a meta service ignores SIGTERM.
_PATIENCE_S = 60


def _settings(text: str) -> dict[str, str]:
    """The entries of a config file."""
    pairs = (line.partition(" = ") for line in text.splitlines() if not line.startswith("#"))
    return {key: value for key, _, value in pairs}


async def test_its_config_file_is_taken_as_it_is_written(meta: RunningMember) -> None:
    """It logs every entry that it read: each is there, with its value, and nothing else is."""
    written = _settings((meta.directory / "mmc-meta.conf").read_text(encoding="utf-8"))
    loaded = re.findall(r"LoadFromFile\]\s+(ock\.mmc\.\S+) = (.*)", "\n".join(meta.log.since(meta.born)))
    assert dict(loaded) == written


async def test_it_is_healthy(meta: RunningMember, http: httpx.AsyncClient) -> None:
    """`/health` says that it is ready for clients, not only that HTTP is answered."""
    answer = (await http.get(f"{meta.url}/health")).json()
    assert (answer["status"], answer["service_ready"]) == ("ok", True), answer


async def test_its_metrics_have_what_docs_and_dashboards_rely_on(
    meta: RunningMember, endpoints: dict[str, Endpoint]
) -> None:
    """Requests, successes and failures of every operation, single and in batches; keys; bytes by medium."""
    metrics = await endpoints[meta.name].metrics()
    counters = [
        f"memcache_{batch}{operation}_{outcome}_total"
        for batch, operations in (("", _OPERATIONS), ("batch_", _BATCHES))
        for operation in operations
        for outcome in ("requests", "successes", "failures")
    ]
    counters += [f"memcache_{operation}_not_found_total" for operation in ("get", "remove", "exist_key")]
    absent = [name for name in (*counters, *_GAUGES) if metrics.total(name) is None]
    absent += [] if metrics.total("memcache_evict_operations_total") is not None else ["evictions"]
    assert absent == []


async def test_nothing_is_stored_before_anybody_came(
    meta: RunningMember, endpoints: dict[str, Endpoint]
) -> None:
    """No keys, and no capacity: memory comes with the clients."""
    metrics = await endpoints[meta.name].metrics()
    assert {name: metrics.total(name) for name in _GAUGES} == dict.fromkeys(_GAUGES, 0.0)


async def test_its_log_is_where_the_config_says(meta: RunningMember, http: httpx.AsyncClient) -> None:
    """In `logs/` below ock.mmc.log_path; a complaint is there at once, and in what pdtest knows as its log.

    It is a harmless one: somebody asked for a page that there is not.
    """
    before = meta.log.mark()
    assert (await http.get(f"{meta.url}/is-pdtest-heard")).status_code == 404
    text = await _once_it_says("is-pdtest-heard", meta.directory / _LOG)
    assert "No handler for GET:/is-pdtest-heard" in text
    assert [line for line in meta.log.since(before) if "is-pdtest-heard" in line]
    assert meta.log.errors_since(before, meta.service.log_rules) == []


async def test_a_second_one_on_the_machine_is_refused(meta: RunningMember, tmp_path: Path) -> None:
    """It locks the machine, not its ports; whoever starts one by hand beside it gets a diagnosis."""
    command = meta.service.render(meta.placement)
    (tmp_path / "other.conf").write_text("ock.mmc.log_path = /nowhere\n", encoding="utf-8")
    variables = os.environ | {"MMC_META_CONFIG_PATH": str(tmp_path / "other.conf")}
    ended = await asyncio.to_thread(_run, list(command.argv), variables)
    finding = diagnose(ended.stdout.splitlines(), MMC)
    assert ended.returncode != 0, ended.stdout
    assert finding is not None, ended.stdout
    assert finding.diagnosis.name == "another meta service runs"


@pytest.mark.disruptive
async def test_it_comes_back_on_its_ports_and_knows_nothing(
    cluster: Cluster, meta: RunningMember, endpoints: dict[str, Endpoint], http: httpx.AsyncClient
) -> None:
    """A restart is a new beginning: the same URLs answer, with all counters at nothing."""
    ports = dict(meta.placement.ports)
    await asyncio.to_thread(cluster.restart, meta.name)
    again = cluster.members[meta.name]
    assert dict(again.placement.ports) == ports
    assert (await http.get(f"{again.url}/health")).json()["service_ready"] is True
    metrics = await endpoints[meta.name].metrics()
    assert metrics.total("memcache_mount_requests_total") == 0.0
    assert metrics.total("memcache_stored_keys") == 0.0


_CLIENT = """
from memcache_hybrid import DistributedObjectStore
store = DistributedObjectStore()
code = store.init(0)
print("init", code, flush=True)
if code == 0:
    value = bytes(range(256)) * 1000
    print("put", store.put("pdtest", value), "there", store.is_exist("pdtest"), flush=True)
    print("same", store.get("pdtest") == value, "removed", store.remove("pdtest"), flush=True)
    print("gone", store.is_exist("pdtest"), flush=True)
store.close()
raise SystemExit(0 if code == 0 else 1)
"""


async def test_objects_go_in_and_come_out_or_the_reason_is_shown(meta: RunningMember, tmp_path: Path) -> None:
    """With an NPU's driver: put, query, get, remove. Without: skipped, once the refusal is the known one."""
    settings = LocalSettings.model_validate(
        {
            "ock.mmc.meta_service_url": f"tcp://{meta.placement.address}:{meta.placement.ports['meta']}",
            "ock.mmc.local_service.config_store_url": (
                f"tcp://{meta.placement.address}:{meta.placement.ports['config']}"
            ),
            "ock.mmc.local_service.world_size": 16,
            "ock.mmc.local_service.protocol": "device_sdma",
            "ock.mmc.local_service.dram.size": "1GB",
            "ock.mmc.client.retry_milliseconds": 1000,
            "ock.mmc.client.timeout.seconds": 10,
        }
    )
    file = tmp_path / "mmc-local.conf"
    file.write_text(conf("client", settings.values()), encoding="utf-8")
    python = meta.service.render(meta.placement).argv[0]
    variables = os.environ | {"MMC_LOCAL_CONFIG_PATH": str(file)}
    ended = await asyncio.to_thread(_run, [python, "-c", _CLIENT], variables)
    loaded = dict(re.findall(r"LoadFromFile\]\s+(ock\.mmc\.\S+) = (.*)", ended.stdout))
    assert loaded == _settings(file.read_text(encoding="utf-8")), ended.stdout
    if ended.returncode != 0:
        _known_refusal(ended.stdout)
    assert re.findall(r"^(?:put|same|gone) .*", ended.stdout, re.MULTILINE) == [
        "put 0 there 1",
        "same True removed 0",
        "gone 0",
    ]


async def _once_it_says(words: str, file: Path) -> str:
    """The file's text as soon as ``words`` are in it, or when the time is over."""
    deadline, text = time.monotonic() + _WRITTEN_WITHIN_S, ""
    while words not in text and time.monotonic() < deadline:
        await asyncio.sleep(0.1)
        text = await asyncio.to_thread(file.read_text, encoding="utf-8", errors="replace")
    return text


def _known_refusal(output: str) -> None:
    """Skip with what memcache says; fail where it is anything but a driver that is missing."""
    lines = output.splitlines()
    driver = next(known for known in MMC if known.name == "Ascend driver missing or too old")
    reason = next((line for line in lines if driver.pattern.search(line)), None)
    code = next((line for line in lines if line.startswith("init ")), "no code")
    assert reason is not None, f"refused for another reason:\n{output}"
    words = reason.rpartition("] ")[2]
    pytest.skip(f"memcache's local service does not start here ({code}): {words}")


def _run(argv: list[str], variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - the member's own program
        argv,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=_PATIENCE_S,
        check=False,
    )
