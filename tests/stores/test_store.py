from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pdtest.stores import store as module
from pdtest.stores.errors import StoreRefused
from pdtest.stores.store import NotQuiet, Reading, Store

from .conftest import access

METRICS = {
    "objects": 3,
    "allocated": 250,
    "capacity": 1000,
    "puts_total": 5,
    "batched_total": 4,
    "failed_total": 1,
}


class Exporter:
    """A store's metrics, as a test wants them."""

    def __init__(self) -> None:
        self.metrics = dict(METRICS)
        exporter = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                text = "".join(f"{name} {value}\n" for name, value in exporter.metrics.items())
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/metrics"


@pytest.fixture
def exporter() -> Iterator[Exporter]:
    exporter = Exporter()
    thread = threading.Thread(target=exporter.server.serve_forever)
    thread.start()
    yield exporter
    exporter.server.shutdown()
    thread.join()
    exporter.server.server_close()


@pytest.fixture
def restarts() -> list[bool]:
    return []


@pytest.fixture
def store(exporter: Exporter, tmp_path: Path, restarts: list[bool], monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(module, "SLACK_S", 0.3)

    async def restart(kill: bool) -> None:
        restarts.append(kill)

    return Store(
        member="pool",
        access=access(exporter.url),
        directory=tmp_path,
        owner="run-1",
        seed="seed",
        restart=restart,
    )


async def test_metrics_are_read_by_the_names_that_the_service_gives(store: Store) -> None:
    async with store.in_use():
        reading = await store.reading()
    assert reading == Reading(objects=3, allocated=250, capacity=1000, counts={"put": 8})
    assert reading.usage == 0.25


def test_an_empty_pool_is_not_in_use() -> None:
    assert Reading(objects=0, allocated=0, capacity=0, counts={}).usage == 0.0


async def test_what_was_counted_since(store: Store, exporter: Exporter) -> None:
    async with store.in_use():
        before = await store.reading()
        exporter.metrics["batched_total"] += 7
        assert (await store.reading()).since(before) == {"put": 7}


async def test_a_metric_that_is_absent_is_named(store: Store, exporter: Exporter) -> None:
    del exporter.metrics["allocated"]
    with pytest.raises(NotQuiet, match="'pool' exports no metric allocated"):
        async with store.in_use():
            pass


async def test_reads_until_it_holds(store: Store, exporter: Exporter) -> None:
    async with store.in_use():
        timer = threading.Timer(0.1, exporter.metrics.update, [{"objects": 4}])
        timer.start()
        assert (await store.reads(lambda now: now.objects == 4, 5)).objects == 4
        timer.join()
        assert (await store.reads(lambda now: now.objects == 9, 0)).objects == 4


async def test_clients_are_told_what_to_contribute_and_closed_with_the_test(
    store: Store, tmp_path: Path
) -> None:
    async with store.in_use():
        first, second = await store.clients(None, 0)
        assert (first.segment_bytes, second.segment_bytes) == (1000, 0)
        assert (first.name, second.name) == ("client-1", "client-2")
    for name in ("client-1", "client-2"):
        assert "goodbye" in (tmp_path / name / f"{name}.log").read_text()


async def test_memory_that_outlives_its_client_is_reported(store: Store, exporter: Exporter) -> None:
    async def use() -> None:
        async with store.in_use():
            await store.client()
            exporter.metrics["capacity"] += 1000

    with pytest.raises(NotQuiet, match="'pool' still counts the memory of 1 clients") as raised:
        await use()
    assert raised.value.expected == "1000 bytes of capacity within 0.1 s and 0.3 s"
    assert raised.value.seen == "2000 bytes of capacity, 3 objects"


async def test_values_have_keys_of_their_own(store: Store) -> None:
    async with store.in_use():
        values = store.values(3, 10)
        assert len(values) == 3
        again = store.value(10, key=next(iter(values)))
        assert again.content != values[again.key].content


async def test_a_restart_is_the_owners_business(store: Store, restarts: list[bool]) -> None:
    async with store.in_use():
        await store.restart()
        await store.restart(kill=True)
    assert restarts == [False, True]


async def test_a_put_waits_for_room_only_where_room_is_made_beside_the_puts(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with store.in_use():
        client = await store.client(segment_bytes=5)
        value = store.value(6)
        with pytest.raises(StoreRefused, match="no room"):
            await store.stored(client, value)
        promises = replace(store.promises, evicts_within_s=0.1)
        monkeypatch.setattr(Store, "promises", promises)
        began = time.monotonic()
        with pytest.raises(StoreRefused, match="no room"):
            await store.stored(client, value)
        assert time.monotonic() - began >= 0.4


async def test_a_removal_waits_for_leases_and_for_nothing_else(store: Store) -> None:
    async with store.in_use():
        client, value = await store.client(), store.value(10)
        await store.stored(client, value)
        await store.removed(client, value.key)
        with pytest.raises(StoreRefused, match="absent"):
            await store.removed(client, value.key)
