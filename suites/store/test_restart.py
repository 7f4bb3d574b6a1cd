"""The store's own process ends and comes back: a key that is listed has its value, or there is none."""

from __future__ import annotations

import asyncio

import pytest

from pdtest.stores.client import StoreClient
from pdtest.stores.errors import Kind
from pdtest.stores.store import SLACK_S, Store
from pdtest.stores.values import Value

pytestmark = pytest.mark.disruptive

KIB, MIB = 1 << 10, 1 << 20
#: What clients may be told while the store is away, or does not know their memory yet.
MEANWHILE = {Kind.UNREACHABLE, Kind.NO_ROOM, Kind.LOST, Kind.ABSENT, Kind.OTHER}


@pytest.mark.parametrize("kill", [False, True], ids=["told to end", "killed"])
async def test_a_restart(store: Store, kill: bool) -> None:
    """Its clients are tied to it again by themselves; old keys are as promised, new ones can be put."""
    writer, reader = await store.clients(None, 0)
    old = store.values(10, 300 * KIB)
    await writer.put_many({key: value.content for key, value in old.items()})
    await store.restart(kill=kill)
    await _can_put(store, writer)
    await _can_put(store, reader)
    exists = await reader.exists_many(list(old))
    contents = await reader.get_many(list(old))
    for key, value in old.items():
        seen = contents[key]
        assert seen is None or value.flaw(seen) is None, f"{key}, put before the restart, {value.flaw(seen)}"
        assert (seen is not None) is exists[key], (
            f"after the restart {key} exists: {exists[key]}, get: {seen is not None}"
        )
        assert seen is not None or not store.promises.remembers, f"{key} is forgotten"
    new = store.values(20, 300 * KIB)  # where the old ones lay
    refused = await writer.put_many({key: value.content for key, value in new.items()})
    assert not refused, f"after the restart: {refused}"
    for key, content in (await reader.get_many([*new, *old])).items():
        if key in new or content is not None:
            flaw = (new | old)[key].flaw(content)
            assert flaw is None, f"{key} {flaw}"


async def test_a_restart_under_load(store: Store) -> None:
    """Killed while two clients put and get: they fail cleanly and in time, and never see another's bytes."""
    first, second = await store.clients(None, None)
    values: dict[str, Value] = {}
    over = asyncio.Event()
    at_work = [asyncio.create_task(_works(store, client, values, over)) for client in (first, second)]
    await asyncio.sleep(0.3)
    await store.restart(kill=True)
    await asyncio.sleep(0.3)
    over.set()
    done = await asyncio.gather(*at_work)
    assert all(done), f"objects put and got by each client: {done}"
    await _can_put(store, first)
    await _can_put(store, second)
    for client in (first, second):
        for key, content in (await client.get_many(list(values))).items():
            flaw = None if content is None else values[key].flaw(content)
            assert flaw is None, f"{key}, for {client.name}, {flaw}"


async def test_a_new_client_after_a_restart(store: Store) -> None:
    """The store that came back takes new ones, beside those that knew it before."""
    before = await store.client()
    await store.restart()
    after = await store.client()
    await _can_put(store, before)
    for writer, reader in ((after, before), (before, after)):
        value = store.value(MIB)
        await writer.put(value.key, value.content)
        flaw = value.flaw(await reader.get(value.key))
        assert flaw is None, f"put by {writer.name}, for {reader.name} it {flaw}"


async def _can_put(store: Store, client: StoreClient) -> None:
    """In the promised time (and some slack) it is tied to the store again, and so is its memory."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + store.promises.recovery_s + SLACK_S
    while True:
        value = store.value(10 * KIB)
        refused = await client.put_many({value.key: value.content})
        capacity = (await store.reading()).capacity
        if not refused and capacity >= client.segment_bytes:
            return
        kinds = {one.kind for one in refused.values()}
        assert kinds <= MEANWHILE, f"{refused}"
        assert loop.time() < deadline, (
            f"{client.name} is not tied to the store again: {capacity} bytes of capacity,"
            f" {refused or 'it can put'}"
        )
        await asyncio.sleep(0.1)


async def _works(store: Store, client: StoreClient, values: dict[str, Value], over: asyncio.Event) -> int:
    """Put, and get what anybody has put; how many came back. Refusals are part of it, hangs are not."""
    back = 0
    while not over.is_set():
        value = store.value(200 * KIB)
        values[value.key] = value
        refused = await client.put_many({value.key: value.content})
        assert {one.kind for one in refused.values()} <= MEANWHILE, f"{refused}"
        key = store.random.choice(list(values))
        content = await client.get(key)
        assert content is None or values[key].flaw(content) is None, f"{key} {values[key].flaw(content)}"
        back += content is not None
    return back
