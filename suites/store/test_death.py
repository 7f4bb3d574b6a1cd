"""A client that dies or falls silent: what it was putting is there whole or not at all, and others go on."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import pytest

from pdtest.stores.client import StoreClient
from pdtest.stores.errors import Kind, StoreClientGone
from pdtest.stores.store import SLACK_S, Store
from pdtest.stores.values import Value

KIB, MIB = 1 << 10, 1 << 20
#: Shares of the time that a put takes, at which its client is killed.
MOMENTS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
#: Refusals while a store does not know yet that the memory it gives out is gone.
MEANWHILE = {Kind.LOST, Kind.NO_ROOM, Kind.ABSENT, Kind.OTHER}


async def test_killed_while_it_puts(store: Store) -> None:
    """At many moments of a large put: the key is absent or complete for others, and can be put by them."""
    host = await store.client()
    size = store.segment_bytes // 8
    takes_s = await _time_of_a_put(store, size)
    unfinished: dict[str, str] = {}
    for moment in MOMENTS:
        victim, value = await store.client(segment_bytes=0), store.value(size)
        putting = await victim.put_begun(value.key, value.content)
        await asyncio.sleep(moment * takes_s)
        await victim.kill()
        with suppress(StoreClientGone):  # it may have been done
            await putting
        said = f"killed after {moment:.0%} of its put"
        seen = await host.get(value.key)
        assert seen is None or value.flaw(seen) is None, f"{said}: {value.key} {value.flaw(seen)}"
        if seen is None:
            unfinished[value.key] = said
    for key, said in unfinished.items():
        await _put_by_another(store, host, key, said)


async def test_killed_between_two_layers(store: Store) -> None:
    """A put that is certainly unfinished: absent for good, its key free again after the promised time."""
    if not store.promises.layer_by_layer:
        pytest.skip(f"'{store.member}' takes an object's layers in one call only")
    host, victim = await store.clients(None, 0)
    value = store.value(8 * 100 * KIB)
    layers = value.layers(8)
    await victim.begin_layers(value.key, list(map(len, layers)))
    for layer in range(5):
        await victim.put_layer(value.key, layer, layers[layer])
    await victim.kill()
    assert not await host.exists(value.key), f"{value.key} exists with 5 of 8 layers, its writer dead"
    seen = await host.get(value.key)
    assert seen is None, f"{value.key} can be got with 5 of 8 layers: it {value.flaw(seen)}"
    await _put_by_another(store, host, value.key, "killed after 5 of 8 layers")


async def test_memory_of_a_dead_client(store: Store) -> None:
    """What was in it is absent, at once or when the store notices; never another's bytes, also not later."""
    victim, reader = await store.clients(None, 0)
    lost = store.values(12, 500 * KIB)
    await victim.put_many({key: value.content for key, value in lost.items()})
    host = await store.client()
    await victim.kill()
    kept: dict[str, Value] = {}
    deadline = time.monotonic() + store.promises.client_timeout_s + SLACK_S
    while True:
        # New objects all the while: those that the store puts into the dead memory must not come back either.
        value = store.value(500 * KIB)
        refused = await reader.put_many({value.key: value.content})
        assert {one.kind for one in refused.values()} <= MEANWHILE, f"{refused}"
        if not refused:
            kept[value.key] = value
        await _sees_whole_or_nothing(reader, lost | kept)
        if not any((await reader.exists_many(list(lost))).values()) or time.monotonic() > deadline:
            break
        await asyncio.sleep(0.1)
    exists = await reader.exists_many(list(lost))
    assert not any(exists.values()), (
        f"its client dead for {store.promises.client_timeout_s:g} s and more: {exists}"
    )
    after = store.value(MIB)
    await reader.put(after.key, after.content)
    for client in (reader, host):
        assert (flaw := after.flaw(await client.get(after.key))) is None, f"put after it all, it {flaw}"


async def test_memory_of_a_client_that_said_goodbye(store: Store) -> None:
    """It takes its objects along; they are absent at once, the others' stay."""
    leaving, staying = await store.clients(None, 0)
    values = store.values(6, 500 * KIB)
    await leaving.put_many({key: value.content for key, value in values.items()})
    await leaving.close()
    exists = await staying.exists_many(list(values))
    assert not any(exists.values()), f"their memory is gone, and {exists}"
    assert not any((await staying.get_many(list(values))).values())


@pytest.mark.nightly
async def test_a_client_that_falls_silent(store: Store) -> None:
    """Alive and not answering: reads from its memory end in time, and never with another's bytes."""
    promises = store.promises
    silent = await store.client()
    reader = await store.client(segment_bytes=0, timeout_s=promises.transfer_timeout_s + SLACK_S)
    values = store.values(3, 500 * KIB)
    await silent.put_many({key: value.content for key, value in values.items()})
    silent.stall()
    await _sees_whole_or_nothing(reader, dict(list(values.items())[:1]))
    await store.reads(lambda now: now.objects == 0, promises.client_timeout_s)
    assert not any((await reader.exists_many(list(values))).values()), (
        "silent for longer than promised, and there"
    )
    silent.resume()
    await asyncio.sleep(promises.recovery_s)
    await _sees_whole_or_nothing(reader, values)
    again = store.value(MIB)
    await silent.put(again.key, again.content)
    assert (flaw := again.flaw(await reader.get(again.key))) is None, f"put by one that was silent, it {flaw}"


async def _time_of_a_put(store: Store, size: int) -> float:
    """Seconds, of a put like those that will be interrupted."""
    client, value = await store.client(segment_bytes=0), store.value(size)
    putting = await client.put_begun(value.key, value.content)
    began = time.monotonic()
    await putting
    took_s = time.monotonic() - began
    await store.removed(client, value.key)
    return took_s


async def _put_by_another(store: Store, client: StoreClient, key: str, said: str) -> None:
    """The key of an unfinished put can be put again: at the latest when the store has given that up.

    A store may answer that it is done while the other's put still counts, and store nothing.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + store.promises.put_timeout_s + store.promises.client_timeout_s + SLACK_S
    value = store.value(MIB, key=key)
    while True:
        refused = await client.put_many({key: value.content})
        seen = await client.get(key)
        assert seen is None or value.flaw(seen) is None, (
            f"{said}, then put by another: {key} {value.flaw(seen)}"
        )
        if seen is not None:
            return
        assert loop.time() < deadline, (
            f"{said}: nobody can put {key} any more: {refused or 'answered with done'}"
        )
        await asyncio.sleep(0.1)


async def _sees_whole_or_nothing(client: StoreClient, values: dict[str, Value]) -> None:
    for key, value in values.items():
        content = await client.get(key)
        assert content is None or value.flaw(content) is None, f"{key} {value.flaw(content)}"
