"""What a store exports about itself agrees with what was done to it."""

from __future__ import annotations

from pdtest.stores.store import Store

KIB, MIB = 1 << 10, 1 << 20


async def test_objects_and_bytes(store: Store) -> None:
    """Gauges follow puts and removals: so many objects, so many bytes (rounded up to what a place takes)."""
    client = await store.client()
    start = await store.reading()
    assert start.capacity >= client.segment_bytes
    values = store.values(8, 250 * KIB)
    await client.put_many({key: value.content for key, value in values.items()})
    total = sum(value.size for value in values.values())
    full = await store.reads(lambda now: now.objects - start.objects == len(values), 0)
    assert full.objects - start.objects == len(values), f"{len(values)} objects were put"
    taken = full.allocated - start.allocated
    assert total <= taken <= total * 1.1, f"{total} bytes were put, {taken} more are allocated"
    for key in values:
        await store.removed(client, key)
    empty = await store.reads(lambda now: now.allocated == start.allocated, store.promises.put_timeout_s)
    assert (empty.objects, empty.allocated) == (start.objects, start.allocated), "all were removed again"


async def test_operations_are_counted(store: Store) -> None:
    """Counters rise by what was done, refused puts and misses not counted as done."""
    client = await store.client()
    before = await store.reading()
    values = store.values(6, 20 * KIB)
    await client.put_many({key: value.content for key, value in values.items()})
    again = store.value(20 * KIB, key=next(iter(values)))
    await client.put(again.key, again.content)  # is there already: nothing is done
    large = store.value((await store.reading()).capacity + MIB)
    assert await client.put_many({large.key: large.content})
    if store.promises.refusal_evicts:
        await store.reads(lambda now: now.since(before)["evicted"] > 0, store.promises.evicts_within_s)
    absent = [store.value(1).key for _ in range(3)]
    contents = await client.get_many([*values, *absent])
    present = [key for key in values if contents[key] is not None]
    for key in present[:2]:
        await store.removed(client, key)
    done = {
        "put": len(values),
        "found": len(present),
        "missed": len(contents) - len(present),
        "removed": len(present[:2]),
        "evicted": len(values) - len(present),
    }
    counted = (await store.reading()).since(before)
    wrong = {name: (count, done[name]) for name, count in counted.items() if count != done[name]}
    assert not wrong, f"counted and done: {wrong}"


async def test_capacity_follows_clients(store: Store) -> None:
    """It grows with each that contributes memory and shrinks when one says goodbye or is dead."""
    start = (await store.reading()).capacity
    first, second = await store.clients(None, None)
    if store.promises.spectators:
        await store.client(segment_bytes=0)
    both = (await store.reading()).capacity
    assert both == start + first.segment_bytes + second.segment_bytes
    await first.close()
    one = (await store.reads(lambda now: now.capacity < both, 0)).capacity
    assert one == start + second.segment_bytes, f"{first.name} said goodbye"
    await second.kill()
    none = (await store.reads(lambda now: now.capacity < one, store.promises.client_timeout_s)).capacity
    assert none == start, f"{second.name} was killed"
