from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pdtest.embedded.channel import RemoteError
from pdtest.embedded.store.client import StoreClient
from pdtest.embedded.store.errors import DoesNotFit, StoreError, StoreUnreachable
from pdtest.embedded.store.peers import Peers
from pdtest.embedded.store.segment import Segment

from .stores import Connect, StartMeta, eventually


async def test_what_one_puts_another_gets(meta: StartMeta, connect: Connect) -> None:
    service = await meta()
    one, two = await connect(service.port), await connect(service.port)
    assert await one.put("key", b"content")
    assert await two.get("key") == b"content"
    assert await two.exists("key")
    assert await two.get("other") is None
    assert not await two.exists("other")
    assert await two.remove("key")
    assert not await one.remove("key")
    assert await one.get("key") is None
    assert service.pool.used == 0


async def test_an_object_is_stored_once(meta: StartMeta, connect: Connect) -> None:
    service = await meta()
    one, two = await connect(service.port), await connect(service.port)
    assert await one.put("key", b"first")
    assert not await two.put("key", b"other")
    assert await two.get("key") == b"first"
    assert service.pool.used == 5


async def test_batches_answer_in_order(meta: StartMeta, connect: Connect) -> None:
    client = await connect((await meta()).port)
    await client.put("b", b"old")
    assert await client.put_many({"a": b"1", "b": b"2", "c": b"3"}) == {"a", "c"}
    assert await client.get_many(["c", "x", "b", "a"]) == [b"3", None, b"old", b"1"]
    assert await client.exists_many(["x", "a"]) == [False, True]
    assert await client.remove_many(["a", "x", "c"]) == [True, False, True]
    assert await client.get_many(["a", "b"]) == [None, b"old"]
    assert await client.get_many([]) == []
    assert await client.put_many({}) == frozenset()


async def test_layers_become_an_object_once_all_are_in(meta: StartMeta, connect: Connect) -> None:
    service = await meta()
    one, two = await connect(service.port), await connect(service.port)
    for layer in (2, 0):
        assert await one.put_layer("key", layer, bytes([layer]) * 3, layers=3)
        assert not await two.exists("key")
        assert await two.get_layer("key", layer) is None
    assert not await one.put_layer("key", 0, b"again", layers=3)
    assert not await two.put_layer("key", 1, b"not yours", layers=3)
    assert await one.put_layer("key", 1, b"\1\1\1", layers=3)
    assert await two.get("key") == b"\0\0\0\1\1\1\2\2\2"
    assert [await two.get_layer("key", layer) for layer in (1, 2, 3)] == [b"\1\1\1", b"\2\2\2", None]


async def test_bytes_lie_with_the_client_that_put_them(meta: StartMeta, connect: Connect) -> None:
    service = await meta(segment_mib=0)
    lender, other = await connect(service.port, segment_bytes=100), await connect(service.port)
    await lender.put("own", b"x" * 40)
    await other.put("lent", b"y" * 40)
    assert await other.get_many(["own", "lent"]) == [b"x" * 40, b"y" * 40]
    assert await lender.get_many(["own", "lent"]) == [b"x" * 40, b"y" * 40]
    (segment,) = [one for one in service.snapshot()["segments"] if one["capacity_bytes"]]
    assert segment["used_bytes"] == 80


async def test_a_client_that_says_goodbye_takes_its_memory_along(meta: StartMeta, connect: Connect) -> None:
    service = await meta()
    lender, other = await connect(service.port, segment_bytes=100), await connect(service.port)
    await lender.put("lent", b"x")
    await other.put("stays", b"y")
    await lender.close()
    assert await other.get_many(["lent", "stays"]) == [None, b"y"]
    assert service.snapshot()["counters"]["unmount_requests"] == 1
    assert "clients_lost" not in service.snapshot()["counters"]


async def test_the_least_recently_used_make_room(meta: StartMeta, connect: Connect) -> None:
    service = await meta(segment_mib=1000 / (1 << 20), high_watermark=0.8, low_watermark=0.5)
    client = await connect(service.port)
    await client.put_many(dict.fromkeys("abcd", b"x" * 200))
    await client.get("a")
    await client.put("e", b"x" * 100)
    assert await client.exists_many(list("abcde")) == [True, False, False, True, True]
    assert service.metrics.counts["evict_operations"] == 2


async def test_what_was_looked_up_is_there_when_it_is_fetched(meta: StartMeta, connect: Connect) -> None:
    service = await meta(segment_mib=1000 / (1 << 20), lease=600.0)
    client = await connect(service.port)
    await client.put_many({"promised": b"x" * 400, "not": b"x" * 400})
    assert await client.exists("promised")
    await client.get("not")
    await client.put("more", b"x" * 400)
    assert await client.get_many(["promised", "not"]) == [b"x" * 400, None]


async def test_what_does_not_fit_is_named_and_the_rest_is_stored(meta: StartMeta, connect: Connect) -> None:
    service = await meta(segment_mib=1000 / (1 << 20))
    client = await connect(service.port)
    with pytest.raises(DoesNotFit, match=r"1 of the objects, 'big' first: 1001 bytes do not fit") as caught:
        await client.put_many({"a": b"x", "big": b"x" * 1001, "b": b"x"})
    assert caught.value.keys == ("big",)
    assert await client.exists_many(["a", "big", "b"]) == [True, False, True]


async def test_layers_of_what_does_not_fit_are_dropped(meta: StartMeta, connect: Connect) -> None:
    service = await meta(segment_mib=1000 / (1 << 20))
    client = await connect(service.port)
    assert await client.put_layer("big", 0, b"x" * 600, layers=2)
    with pytest.raises(DoesNotFit):
        await client.put_layer("big", 1, b"x" * 600, layers=2)
    await eventually(lambda: service.pool.used == 0)
    assert service.metrics.counts["puts_called_off"] == 1


async def test_bytes_that_are_not_those_put_are_a_miss(meta: StartMeta, connect: Connect) -> None:
    service = await meta(segment_mib=0)
    lender = await connect(service.port, segment_bytes=100)
    reader = await connect(service.port)
    await reader.put_many({"good": b"x" * 10, "bad": b"y" * 10})
    one = service.pool.objects["bad"]
    (extent,) = one.extents
    lender._segment.write(extent.segment, one.ticket, extent.offset + 3, b"!")
    assert await reader.get_many(["good", "bad"]) == [b"x" * 10, None]
    assert not await reader.exists("bad")
    assert service.metrics.counts["checksum_failures"] == 1
    assert service.pool.used == 10
    assert await reader.put("bad", b"y" * 10), "it can be put again"
    assert await reader.get("bad") == b"y" * 10


async def test_one_bad_layer_is_a_bad_object(meta: StartMeta, connect: Connect) -> None:
    service = await meta()
    client = await connect(service.port)
    for layer in range(3):
        await client.put_layer("key", layer, b"x" * 8, layers=3)
    one = service.pool.objects["key"]
    extent = one.extents[2]
    service._own.write(extent.segment, one.ticket, extent.offset, b"?")
    assert await client.get_layer("key", 0) == b"x" * 8
    assert await client.get("key") is None
    assert service.metrics.counts["checksum_failures"] == 1


async def test_a_put_without_progress_is_called_off(meta: StartMeta, connect: Connect) -> None:
    service = await meta(put_timeout=0.2)
    client = await connect(service.port)
    await client.put_layer("key", 0, b"x", layers=2)
    await eventually(lambda: service.pool.used == 0)
    assert not await client.exists("key")
    assert service.metrics.counts["puts_called_off"] == 1


async def test_a_put_that_was_called_off_says_so(
    meta: StartMeta, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = await meta()
    client = await connect(service.port)
    complete = StoreClient._complete

    async def slow(*arguments: Any) -> Any:
        service._call_off(service.pool.objects["key"])
        return await complete(*arguments)

    monkeypatch.setattr(StoreClient, "_complete", slow)
    with pytest.raises(StoreError, match="'key' first, were called off"):
        await client.put("key", b"x")
    await eventually(lambda: service.pool.used == 0)


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Ports of clients that others cannot reach, although the meta process can."""
    ports: set[int] = set()
    call = Peers.call

    async def refuse(self: Peers, host: str, port: int, method: str, **arguments: Any) -> Any:
        if port in ports:
            raise ConnectionRefusedError("no way")
        return await call(self, host, port, method, **arguments)

    monkeypatch.setattr(Peers, "call", refuse)
    return ports


async def test_memory_that_cannot_be_reached_is_not_asked_twice(
    meta: StartMeta, connect: Connect, unreachable: set[int]
) -> None:
    service = await meta(segment_mib=100 / (1 << 20))
    lender, writer = await connect(service.port, segment_bytes=10_000), await connect(service.port)
    unreachable.add(lender._server.port)
    assert await writer.put_many({"a": b"x" * 40, "b": b"y" * 40}) == {"a", "b"}
    assert await lender.get_many(["a", "b"]) == [b"x" * 40, b"y" * 40]
    await eventually(lambda: service.pool.used == 80)
    assert service.metrics.counts["puts_called_off"] == 2
    with pytest.raises(DoesNotFit, match="segments asked: 1 with 100 bytes, 80 in use"):
        await writer.put("only there", b"z" * 200)


async def test_when_nobody_takes_it_the_error_says_why(
    meta: StartMeta, connect: Connect, unreachable: set[int]
) -> None:
    service = await meta(segment_mib=0)
    lenders = [await connect(service.port, segment_bytes=100) for _ in range(4)]
    unreachable.update(lender._server.port for lender in lenders)
    writer = await connect(service.port)
    with pytest.raises(StoreError, match=r"no owner of memory took 'key', 3 tried: .*no way"):
        await writer.put("key", b"x")
    with pytest.raises(StoreError, match=r"a layer was lost with the object's others: .*no way"):
        await writer.put_layer("key", 0, b"x", layers=2)
    await eventually(lambda: service.pool.used == 0)
    assert service.pool.unfinished() == []


async def test_an_object_whose_owner_cannot_be_reached_is_a_miss(
    meta: StartMeta, connect: Connect, unreachable: set[int]
) -> None:
    service = await meta()
    lender, reader = await connect(service.port, segment_bytes=100), await connect(service.port)
    await lender.put("key", b"x")
    unreachable.add(lender._server.port)
    assert await reader.get("key") is None
    assert service.metrics.counts["get_failures"] == 1
    assert service.metrics.counts["misses"] == 1
    unreachable.clear()
    assert await reader.get("key") == b"x"


async def test_late_bytes_of_a_put_called_off_do_not_arrive(meta: StartMeta, connect: Connect) -> None:
    """The memory goes to the next only when its owner refuses the former's writes."""
    service = await meta(segment_mib=0)
    lender, writer = await connect(service.port, segment_bytes=10), await connect(service.port)
    _, answer = await writer._link.ask("allocate", items=[["late", 10, 0, 1]], avoid=[])
    ((ticket, segment, offset),) = answer["places"]
    service._call_off(service.pool.objects["late"])
    assert service.pool.used == 10, "not before the owner has agreed"
    await eventually(lambda: service.pool.used == 0)
    assert await writer.put("next", b"0123456789")
    host, port = answer["at"][segment]
    late = {"segment": segment, "ticket": ticket, "offset": offset, "content": b"x" * 10}
    with pytest.raises(RemoteError, match="was called off before its bytes came"):
        await writer._peers.call(host, port, "write", **late)
    assert await lender.get("next") == b"0123456789"


async def test_cancelling_a_caller_leaves_nothing_pinned(meta: StartMeta, connect: Connect) -> None:
    service = await meta()
    client = await connect(service.port)
    await client.put("key", b"x")
    get = asyncio.create_task(client.get("key"))
    put = asyncio.create_task(client.put("other", b"y"))
    await asyncio.sleep(0)
    get.cancel()
    put.cancel()
    await asyncio.gather(get, put, return_exceptions=True)
    await eventually(lambda: not client._under_way)
    assert not any(one.readers for one in service.pool.objects.values())
    assert set(service.pool.objects) == {"key", "other"}


async def test_a_client_that_registers_anew_counts_once(meta: StartMeta, connect: Connect) -> None:
    service = await meta()
    client = await connect(service.port, segment_bytes=100)
    await client.put("lost", b"x")
    before = service.pool.capacity
    registration, _ = await client._link.ask("heartbeat")
    registration.channel.hang_up()
    await eventually(lambda: service.metrics.counts["mount_successes"] == 2)
    assert await client.put("new", b"y")
    assert await client.get_many(["lost", "new"]) == [None, b"y"]
    assert len(service.members) == 1
    assert service.pool.capacity == before


async def test_without_a_meta_process_the_error_is_clear() -> None:
    client = StoreClient("127.0.0.1:1")
    with pytest.raises(StoreUnreachable, match=r"meta process at 127\.0\.0\.1:1 cannot be reached"):
        await client.start(patience_s=0.2)
    await client.close()


@pytest.mark.parametrize("address", ["", "5000", "host:", "host:port"])
def test_an_address_is_host_and_port(address: str) -> None:
    with pytest.raises(ValueError, match="expected host:port"):
        StoreClient(address)


def test_a_segment_refuses_what_is_not_its_own() -> None:
    segment = Segment(10, name="now")
    segment.write("now", 1, 0, b"0123456789")
    assert segment.read("now", 8, 2) == b"89"
    with pytest.raises(StoreError, match="this is segment 'now', no longer 'before'"):
        segment.read("before", 0, 1)
    with pytest.raises(StoreError, match="bytes 8 to 11 are not in a segment of 10"):
        segment.read("now", 8, 3)
    with pytest.raises(StoreError, match="bytes -1 to 0 are not"):
        segment.write("now", 1, -1, b"x")
    segment.fence("now", [1])
    with pytest.raises(StoreError, match="put 1 was called off"):
        segment.write("now", 1, 0, b"x")
    segment.write("now", 2, 0, b"y")
