"""Several clients: what one puts is there for all, and when they race one value wins, whole."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from pdtest.stores.client import StoreClient
from pdtest.stores.errors import Kind
from pdtest.stores.store import Store
from pdtest.stores.values import Value

KIB, MIB = 1 << 10, 1 << 20
#: Refusals that a race can bring about; anything else is a failure.
RACED = {Kind.ABSENT, Kind.LEASED, Kind.PRESENT}


async def test_what_one_puts_the_other_gets(store: Store) -> None:
    """Over the network, both ways, between two that contribute memory and one that does not."""
    clients = await store.clients(None, None, 0)
    for writer in clients:
        values = store.values(4, 300 * KIB)
        await writer.put_many({key: value.content for key, value in values.items()})
        for reader in clients:
            contents = await reader.get_many(list(values))
            for key, value in values.items():
                flaw = value.flaw(contents[key])
                assert flaw is None, f"{key}, put by {writer.name}, for {reader.name} {flaw}"


async def test_what_one_removes_is_gone_for_the_other(store: Store) -> None:
    """And what the other then puts is there for the first."""
    first, second = await store.clients(None, None)
    value = store.value(MIB)
    await first.put(value.key, value.content)
    assert value.flaw(await second.get(value.key)) is None
    await store.removed(second, value.key)
    assert await first.get(value.key) is None, (
        f"{second.name} removed {value.key}, {first.name} still gets it"
    )
    again = store.value(MIB // 2, key=value.key)
    await second.put(again.key, again.content)
    assert (flaw := again.flaw(await first.get(again.key))) is None, f"put again by {second.name}, it {flaw}"


async def test_of_concurrent_puts_one_wins(store: Store) -> None:
    """All read the same value afterwards, and it is one of those put, whole."""
    clients = await store.clients(None, None, 0)
    for size in (KIB, 300 * KIB, 3 * MIB):
        first = store.value(size)
        rivals = [first, *(store.value(size - number, key=first.key) for number in (1, 2))]
        await asyncio.gather(
            *(
                client.put_many({rival.key: rival.content})
                for client, rival in zip(clients, rivals, strict=True)
            )
        )
        seen = [await client.get(first.key) for client in clients]
        flaws = [[rival.flaw(content) for rival in rivals] for content in seen]
        winners = {tuple(flaw is None for flaw in of_one) for of_one in flaws}
        assert len(winners) == 1, f"{first.key} ({size} bytes) is not the same for all: {flaws}"
        assert any(winners.pop()), f"{first.key} is none of the values put: {flaws[0]}"


async def test_a_random_schedule(store: Store) -> None:
    """Three clients put, ask, get and remove five keys as they like: none ever sees anything but a value put.

    The schedule follows from --pdtest-seed; how it interleaves does not.
    """
    clients = await store.clients(None, None, 0)
    keys = [store.value(1).key for _ in range(5)]
    put: dict[str, list[Value]] = {key: [] for key in keys}
    schedules = [_schedule(store, keys, put, count=60) for _ in clients]
    wrong = await asyncio.gather(
        *(_follow(client, steps, put) for client, steps in zip(clients, schedules, strict=True))
    )
    complaints = [complaint for of_one in wrong for complaint in of_one]
    assert not complaints, "\n".join(complaints)


def _schedule(
    store: Store, keys: list[str], put: Mapping[str, list[Value]], *, count: int
) -> list[tuple[str, str, Value | None]]:
    """What one client does, and with which value. Every value that will be put is noted first."""
    steps: list[tuple[str, str, Value | None]] = []
    for _ in range(count):
        key, does = (
            store.random.choice(keys),
            store.random.choice(("put", "put", "get", "get", "exists", "remove")),
        )
        value = store.value(store.random.choice((1 * KIB, 50 * KIB, 400 * KIB)), key=key)
        steps.append((does, key, value if does == "put" else None))
        if does == "put":
            put[key].append(value)
    return steps


async def _follow(
    client: StoreClient, steps: list[tuple[str, str, Value | None]], put: Mapping[str, list[Value]]
) -> list[str]:
    """What went wrong, in words."""
    wrong: list[str] = []
    for number, (does, key, value) in enumerate(steps):
        said = f"{client.name}, step {number}, {does} {key}"
        if value is not None:
            refused = await client.put_many({key: value.content})
        elif does == "remove":
            refused = await client.remove_many([key])
        else:
            refused = {}
        wrong += [f"{said}: {one}" for one in refused.values() if one.kind not in RACED]
        if does == "exists":
            await client.exists(key)
        if does == "get" and (content := await client.get(key)) is not None:
            flaws = [candidate.flaw(content) for candidate in put[key]]
            if None not in flaws:
                wrong.append(f"{said}: none of the {len(flaws)} values put: {flaws[0]}")
    return wrong
