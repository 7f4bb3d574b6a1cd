"""Many objects with one call: in order, each by itself."""

from __future__ import annotations

from pdtest.stores.errors import Kind
from pdtest.stores.store import Store

KIB, MIB = 1 << 10, 1 << 20


async def test_a_batch_is_its_objects(store: Store) -> None:
    """Put together and got one by one, put one by one and got together: of unequal sizes, none swapped."""
    client = await store.client()
    together = {value.key: value for value in map(store.value, range(1, 200 * KIB, 13 * KIB))}
    apart = store.values(5, 3 * KIB)
    refused = await client.put_many({key: value.content for key, value in together.items()})
    assert not refused, f"refused of a batch: {refused}"
    for value in apart.values():
        await client.put(value.key, value.content)
    for key, value in together.items():
        assert (flaw := value.flaw(await client.get(key))) is None, f"{key} of a batch {flaw}"
    everything = together | apart
    asked = store.random.sample(sorted(everything), k=len(everything))
    for key, content in (await client.get_many(asked)).items():
        assert (flaw := everything[key].flaw(content)) is None, f"{key} {flaw}"


async def test_misses_leave_gaps(store: Store) -> None:
    """What is absent is absent at its place, and moves nothing else."""
    client = await store.client()
    there, absent = store.values(4, 50 * KIB), store.values(4, 50 * KIB)
    await client.put_many({key: value.content for key, value in there.items()})
    mixed = [key for pair in zip(absent, there, strict=True) for key in pair]
    assert await client.exists_many(mixed) == {key: key in there for key in mixed}
    contents = await client.get_many(mixed)
    for key in absent:
        assert contents[key] is None, f"{key} was never put, and has {len(contents[key] or b'')} bytes"
    for key, value in there.items():
        assert (flaw := value.flaw(contents[key])) is None, f"{key} {flaw}"


async def test_a_batch_with_one_that_does_not_fit(store: Store) -> None:
    """The others are stored or refused as well, and what was said of each is what holds."""
    client = await store.client()
    values = store.values(4, 100 * KIB)
    large = store.value((await store.reading()).capacity + MIB)
    items = {key: value.content for key, value in values.items()} | {large.key: large.content}
    refused = await client.put_many(items)
    assert refused.get(large.key), f"{large.size} bytes were taken: refused were {sorted(refused)}"
    assert refused[large.key].kind is Kind.NO_ROOM, str(refused[large.key])
    exists = await client.exists_many(list(items))
    assert not exists[large.key], "it was refused, and the key exists"
    for key, content in (await client.get_many(list(values))).items():
        if key in refused:
            assert content is None, f"{key} was refused, and is there"
        elif content is not None or not store.promises.refusal_evicts:
            assert (flaw := values[key].flaw(content)) is None, f"{key} was taken, and {flaw}"


async def test_a_batch_is_removed_key_by_key(store: Store) -> None:
    """Those named are gone, those absent are said to be, the others stay."""
    client = await store.client()
    goes, stays, absent = store.values(3, 10 * KIB), store.values(3, 10 * KIB), store.value(1)
    await client.put_many({key: value.content for key, value in (goes | stays).items()})
    refused = await client.remove_many([*goes, absent.key])
    assert {key: refusal.kind for key, refusal in refused.items()} == {absent.key: Kind.ABSENT}
    contents = await client.get_many([*goes, *stays])
    assert all(contents[key] is None for key in goes), "removed with a batch, and still there"
    for key, value in stays.items():
        assert (flaw := value.flaw(contents[key])) is None, f"{key} was not removed, and {flaw}"
