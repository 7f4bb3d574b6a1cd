"""A pool that is full: objects go between the watermarks, whole, and not those that somebody counts on."""

from __future__ import annotations

import time

from pdtest.oracle.verdict import Finding, Ruling
from pdtest.plugin.fixtures import Rule
from pdtest.stores.store import Store

KIB = 1 << 10
#: Objects that fill the pool once: enough for shares of it to be told apart.
FILL = 128
#: A busy machine may take longer for one than a lease lasts.
ROUNDS = 10


async def test_usage_falls_between_the_watermarks(store: Store) -> None:
    """Put more than fits: usage ends between low and high, and what is left has exactly its values."""
    client = await store.client()
    capacity = (await store.reading()).capacity
    before = await store.reading()
    values = store.values(2 * FILL, capacity // FILL - 4 * KIB)
    for value in values.values():
        await store.stored(client, value)
    promises = store.promises
    after = await store.reads(lambda now: now.usage <= promises.high, promises.evicts_within_s)
    assert after.usage <= promises.high, f"usage stays at {after.usage:.0%}, beyond {promises.high:.0%}"
    # One object of slack: none can be evicted by halves.
    floor = promises.low - 1.5 / FILL - _passes(store)
    assert after.usage >= floor, f"evicted down to {after.usage:.0%}, {promises.low:.0%} were to stay"
    contents = await client.get_many(list(values))
    left = [key for key, content in contents.items() if content is not None]
    for key in left:
        assert (flaw := values[key].flaw(contents[key])) is None, f"{key}, which was not evicted, {flaw}"
    evicted, gone = after.since(before).get("evicted"), before.objects + len(values) - after.objects
    assert evicted in {None, gone}, (
        f"{before.objects} objects were there, {len(values)} were put, {after.objects} are left:"
        f" {evicted} are counted as evicted"
    )


async def test_what_was_evicted_is_absent_for_all(store: Store) -> None:
    """To be asked for, to be got, to be put again: none of it half there."""
    client = await store.client()
    reader = await store.client(segment_bytes=0)
    capacity = (await store.reading()).capacity
    values = store.values(2 * FILL, capacity // FILL - 4 * KIB)
    for value in values.values():
        await store.stored(client, value)
    await store.reads(lambda now: now.usage <= store.promises.high, store.promises.evicts_within_s)
    began = time.monotonic()
    exists = await reader.exists_many(list(values))
    gone = [key for key, there in exists.items() if not there]
    assert gone, f"{capacity} bytes took {len(values)} objects of {capacity // FILL - 4 * KIB} bytes"
    contents = await reader.get_many(list(values))
    leased = time.monotonic() - began < store.promises.lease_s
    for key, there in exists.items():
        seen = contents[key]
        assert there or seen is None, f"{key} does not exist, and can be got: it {values[key].flaw(seen)}"
        # Without a lease it may have gone in between.
        if seen is not None or (there and leased):
            assert (flaw := values[key].flaw(seen)) is None, f"{key} exists, and {flaw}"
    again = store.value(8 * KIB, key=gone[0])
    await client.put(again.key, again.content)
    assert (flaw := again.flaw(await reader.get(again.key))) is None, (
        f"put again after its eviction, it {flaw}"
    )


async def test_a_lease_protects_from_eviction(store: Store, rule: Rule) -> None:
    """Between 'it exists' and the get an engine counts on it: it stays while its lease runs."""
    client = await store.client()
    size = (await store.reading()).capacity // FILL - 4 * KIB
    finding = Finding(check="lease", ruling=Ruling.INCONCLUSIVE, text="every round took too long")
    for _ in range(ROUNDS):
        # The oldest by the time the pool is full: without a lease they would go first.
        leased = store.values(8, size)
        await client.put_many({key: value.content for key, value in leased.items()})
        flood = {key: value.content for key, value in store.values(FILL, size).items()}
        began = time.monotonic()
        if not all((await client.exists_many(list(leased))).values()):
            continue  # the flood of the round before still has its consequences
        await client.put_many(flood)
        contents = await client.get_many(list(leased))
        if (took_s := time.monotonic() - began) < store.promises.lease_s:
            flaws = [f"{key} {flaw}" for key, value in leased.items() if (flaw := value.flaw(contents[key]))]
            text = f"{took_s:.2f} s after they were asked for: {'; '.join(flaws) or 'all there'}"
            finding = Finding(check="lease", ruling=Ruling.FAIL if flaws else Ruling.PASS, text=text)
            break
    rule(f"what was asked for is not evicted for {store.promises.lease_s:g} s", [finding])


async def test_a_lease_ends(store: Store) -> None:
    """What nobody asks for any more is evicted like everything else: leases do not fill the pool for good."""
    client = await store.client()
    capacity = (await store.reading()).capacity
    size = capacity // FILL - 4 * KIB
    old = store.values(8, size)
    for value in old.values():
        await client.put(value.key, value.content)
    assert all((await client.exists_many(list(old))).values())
    await store.sleep(store.promises.lease_s)
    for value in store.values(4 * FILL, size).values():
        await client.put_many({value.key: value.content})
    await store.reads(lambda now: now.usage <= store.promises.high, store.promises.evicts_within_s)
    exists = await client.exists_many(list(old))
    assert not any(exists.values()), f"the pool was filled four times over, and {exists} were not evicted"


def _passes(store: Store) -> float:
    """A store that evicts in passes beside the puts may do one more than was needed."""
    return store.promises.high - store.promises.low if store.promises.evicts_within_s else 0.0
