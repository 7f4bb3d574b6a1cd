from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from pdtest.stores.errors import Kind, StoreClientBroken, StoreClientGone, StoreClientSilent, StoreRefused

from .conftest import Start


async def test_objects_go_and_come_as_they_are(start: Start) -> None:
    client = await start()
    await client.put("a", b"one\ntwo\0")
    assert await client.get("a") == b"one\ntwo\0"
    assert await client.exists("a")
    await client.remove("a")
    assert await client.get("a") is None
    assert not await client.exists("a")


async def test_an_empty_object_is_no_miss(start: Start) -> None:
    client = await start()
    await client.put("empty", b"")
    assert await client.get("empty") == b""


async def test_many_say_which_were_refused(start: Start) -> None:
    client = await start(segment_bytes=10)
    refused = await client.put_many({"small": b"x", "large": b"x" * 11})
    assert list(refused) == ["large"]
    assert (refused["large"].kind, refused["large"].code) == (Kind.NO_ROOM, -200)
    assert await client.get_many(["none", "small"]) == {"none": None, "small": b"x"}
    assert (await client.remove_many(["small", "none"]))["none"].kind is Kind.ABSENT


async def test_one_that_is_refused_names_client_key_and_code(start: Start) -> None:
    client = await start(segment_bytes=1)
    with pytest.raises(StoreRefused, match=r"one put 'large': no room \(code -200: too large\)"):
        await client.put("large", b"xx")


async def test_what_cannot_be_told_is_refused(start: Start) -> None:
    client = await start()
    with pytest.raises(StoreRefused, match="unreachable") as refused:
        await client.exists_many(["some", "unknown"])
    assert refused.value.refusal.key == "unknown"


async def test_layers(start: Start) -> None:
    client = await start()
    await client.put_layers("whole", [b"ab", b"cd"])
    assert await client.get_layers("whole", [1, 3]) == [b"a", b"bcd"]
    await client.begin_layers("apart", [2, 2])
    await client.put_layer("apart", 1, b"22")
    assert await client.get("apart") is None
    await client.put_layer("apart", 0, b"11")
    await client.finish_layers("apart")
    assert await client.get("apart") == b"1122"
    assert await client.get_layers("none", [1]) is None


async def test_one_that_ends_says_how_and_its_last_words(start: Start, directory: Path) -> None:
    client = await start()
    with pytest.raises(StoreClientGone, match="one ended with exit code 3") as gone:
        await client.put("exit", b"")
    assert gone.value.seen is not None
    assert gone.value.seen.endswith("about to leave")
    assert gone.value.where == str(directory / "one.log")
    with pytest.raises(StoreClientGone):
        await client.get("any")


async def test_one_that_hangs_is_ended(start: Start) -> None:
    client = await start(timeout_s=0.3)
    with pytest.raises(StoreClientSilent, match=r"more than 0.3 s to put 'hang'"):
        await client.put("hang", b"")
    with pytest.raises(StoreClientGone, match="SIGKILL"):
        await client.get("any")


async def test_a_call_that_raises_leaves_the_client_usable(start: Start) -> None:
    client = await start()
    with pytest.raises(StoreClientBroken, match="OSError: broken in here"):
        await client.put("raise", b"")
    await client.put("a", b"1")
    assert await client.get("a") == b"1"


async def test_one_that_the_store_does_not_take_says_why(start: Start) -> None:
    with pytest.raises(StoreClientBroken, match="ConnectionError: nobody there"):
        await start(refuses=True)


async def test_killed_in_the_middle_of_a_put(start: Start) -> None:
    client = await start()
    putting = await client.put_begun("hang", b"x")
    assert not putting.done()
    await client.kill()
    with pytest.raises(StoreClientGone, match="SIGKILL"):
        await putting


async def test_stalled_and_resumed(start: Start) -> None:
    client = await start()
    client.stall()
    putting = asyncio.create_task(client.put("a", b"1"))
    await asyncio.sleep(0.2)
    assert not putting.done()
    client.resume()
    await putting


async def test_goodbye_is_said_once_and_the_end_awaited(start: Start, directory: Path) -> None:
    client = await start()
    await client.close()
    await client.close()
    # Its stdout and its stderr are two streams: which line comes first is nobody's promise.
    assert sorted((directory / "one.log").read_text().splitlines()) == ["goodbye", "noise on stdout"]


async def test_one_in_the_middle_of_something_is_closed_all_the_same(start: Start) -> None:
    client = await start()
    putting = await client.put_begun("hang", b"x")
    began = time.monotonic()
    await client.close()
    assert time.monotonic() - began < 10
    with pytest.raises(StoreClientGone):
        await putting


async def test_a_cancelled_call_ends_the_client(start: Start) -> None:
    client = await start()
    putting = await client.put_begun("hang", b"x")
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting
    with pytest.raises(StoreClientGone):
        await client.get("any")
