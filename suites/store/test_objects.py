"""One object: put, asked for, got, removed; of any size."""

from __future__ import annotations

import pytest

from pdtest.stores.errors import Kind, StoreRefused
from pdtest.stores.store import Store

KIB, MIB = 1 << 10, 1 << 20
#: Around pages and the units in which stores move bytes.
SIZES = [1, 2, 4 * KIB - 1, 4 * KIB, 4 * KIB + 1, 64 * KIB, MIB - 1, MIB, MIB + 3, 5 * MIB + 7]


async def test_put_ask_get_remove(store: Store) -> None:
    """What an engine does with a block, and what it sees before and after."""
    client, value = await store.client(), store.value(100 * KIB)
    assert not await client.exists(value.key), f"{value.key} exists before anybody put it"
    assert await client.get(value.key) is None
    await client.put(value.key, value.content)
    assert await client.exists(value.key), f"{value.key} was put, and does not exist"
    assert (flaw := value.flaw(await client.get(value.key))) is None, f"{value.key} {flaw}"
    await store.removed(client, value.key)
    assert not await client.exists(value.key), f"{value.key} exists after it was removed"
    assert await client.get(value.key) is None, f"{value.key} was removed, and comes back"


async def test_every_size_comes_back_whole(store: Store) -> None:
    """From one byte on: nothing padded, cut, or mixed up with its neighbours."""
    client = await store.client()
    values = [store.value(size) for size in SIZES]
    for value in values:
        await client.put(value.key, value.content)
    for value in values:
        assert (flaw := value.flaw(await client.get(value.key))) is None, f"{value.size} bytes: it {flaw}"


async def test_an_empty_object_is_stored_or_refused(store: Store) -> None:
    """As the store promises; never something else under its key."""
    client, value = await store.client(), store.value(0)
    if store.promises.empty_values:
        await client.put(value.key, b"")
        assert await client.get(value.key) == b""
        return
    with pytest.raises(StoreRefused) as refused:
        await client.put(value.key, b"")
    assert refused.value.refusal.kind is Kind.INVALID
    assert not await client.exists(value.key), "an empty object was refused, and its key exists"


async def test_more_than_a_segment_is_refused(store: Store) -> None:
    """There is no room for it, ever: said at once, and nothing of it is there. Others go on as before."""
    client = await store.client()
    for excess in (1, 4 * KIB, MIB):
        large = store.value((await store.reading()).capacity + excess)
        refused = await client.put_many({large.key: large.content})
        assert [refusal.kind for refusal in refused.values()] == [Kind.NO_ROOM], (
            f"{large.size} bytes: {refused}"
        )
        assert not await client.exists(large.key), f"{large.size} bytes were refused, and the key exists"
        assert await client.get(large.key) is None
    await store.sleep(store.promises.evicts_within_s)
    after = store.value(MIB)
    await client.put(after.key, after.content)
    assert (flaw := after.flaw(await client.get(after.key))) is None, f"the next object {flaw}"


async def test_a_whole_segment_is_stored_whole_or_refused(store: Store) -> None:
    """Where the largest object ends, none may be cut: stored, refused, or evicted again."""
    client = await store.client()
    value = store.value(store.segment_bytes)
    refused = await client.put_many({value.key: value.content})
    assert all(refusal.kind is Kind.NO_ROOM for refusal in refused.values()), str(refused)
    seen = await client.get(value.key)
    assert not (refused and seen), "it was refused, and is there"
    assert seen is None or value.flaw(seen) is None, f"{value.size} bytes: it {value.flaw(seen)}"


async def test_a_second_put_of_a_key_changes_nothing(store: Store) -> None:
    """Keys are hashes of content: the first value stays, of whatever size the second is."""
    client = await store.client()
    first = store.value(200 * KIB)
    await client.put(first.key, first.content)
    for size in (first.size, 10 * KIB, 300 * KIB):
        second = store.value(size, key=first.key)
        await client.put(second.key, second.content)
        assert (flaw := first.flaw(await client.get(first.key))) is None, (
            f"{first.key} was put again with {size} bytes; the first value {flaw}"
        )


async def test_a_removed_key_can_be_put_again(store: Store) -> None:
    """With another value, which is the one that comes back."""
    client = await store.client()
    first = store.value(MIB)
    await client.put(first.key, first.content)
    await store.removed(client, first.key)
    second = store.value(MIB // 2, key=first.key)
    await client.put(second.key, second.content)
    assert (flaw := second.flaw(await client.get(second.key))) is None, f"{second.key} {flaw}"


async def test_what_is_not_there_cannot_be_removed(store: Store) -> None:
    """It is said, not silently done."""
    client = await store.client()
    with pytest.raises(StoreRefused) as refused:
        await client.remove(store.value(1).key)
    assert refused.value.refusal.kind is Kind.ABSENT
