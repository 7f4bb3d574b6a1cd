"""Clients and the meta process in processes of their own, which die, stop and come back."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pdtest.embedded.store.errors import StoreUnreachable

from .stores import Connect, Process, eventually, python

#: A client that does what it is told, one line of Python at a time, and answers with what came out.
_OBEDIENT = """
import asyncio, os, signal, sys
from pdtest.embedded.store.client import StoreClient

async def main():
    client = StoreClient("127.0.0.1:" + sys.argv[1], segment_bytes=int(sys.argv[2]))
    await client.start(60)
    print("ready")
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := (await lines.readline()).decode():
        print(repr(await eval(line, {"client": client})))

async def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

if "dies before completing" in sys.argv:
    StoreClient._complete = die
asyncio.run(main())
"""


class Other:
    """A client in another process."""

    def __init__(self, popen: Any) -> None:
        self.popen = popen
        assert self._answer() == "ready"

    async def ask(self, what: str) -> str:
        """The answer to ``client.<what>``, as its repr; "" when the process died."""
        self.popen.stdin.write(f"client.{what}\n")
        self.popen.stdin.flush()
        return await asyncio.to_thread(self._answer)  # we may have to serve what it asks for

    def _answer(self) -> str:
        return str(self.popen.stdout.readline()).strip()


@contextmanager
def other(process: Process, segment_bytes: int = 0, *arguments: str) -> Iterator[Other]:
    with python(_OBEDIENT, str(process.port), str(segment_bytes), *arguments) as popen:
        yield Other(popen)


def stats(process: Process) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(process.get("/stats"))
    return answer


async def test_two_clients_in_two_processes(process: Process, connect: Connect) -> None:
    ours = await connect(process.port, segment_bytes=10_000)
    with other(process, 10_000) as theirs:
        assert await theirs.ask("put('theirs', b'x' * 3000)") == "True"
        assert await ours.get("theirs") == b"x" * 3000
        assert await ours.put("ours", b"y" * 3000)
        assert await theirs.ask("get('ours')") == repr(b"y" * 3000)
        used = {one["capacity_bytes"]: one["used_bytes"] for one in stats(process)["segments"]}
        assert used == {1 << 20: 0, 10_000: 3000}
        assert stats(process)["clients"] == 2


async def test_a_client_that_dies_takes_only_its_own_memory(process: Process, connect: Connect) -> None:
    ours = await connect(process.port)
    with other(process, 10_000) as theirs:
        await theirs.ask("put('in theirs', b'x' * 3000)")
        await ours.put("in the store's", b"y" * 20_000)
        assert await ours.exists_many(["in theirs", "in the store's"]) == [True, True]
        theirs.popen.kill()
        await eventually(lambda: stats(process)["clients"] == 1)
    assert await ours.get_many(["in theirs", "in the store's"]) == [None, b"y" * 20_000]
    now = stats(process)
    assert now["capacity_bytes"] == 1 << 20
    assert now["used_bytes"] == 20_000
    assert now["counters"]["clients_lost"] == 1
    assert now["counters"]["objects_lost"] == 1
    assert await ours.put("in theirs", b"again")


async def test_a_client_that_dies_in_mid_put_leaves_no_object_and_no_leak(
    process: Process, connect: Connect
) -> None:
    ours = await connect(process.port, segment_bytes=0)
    with other(process, 0, "dies before completing") as theirs:
        assert await theirs.ask("put('half', b'x' * 3000)") == ""
    await eventually(lambda: stats(process)["used_bytes"] == 0)
    assert not await ours.exists("half")
    assert stats(process)["counters"]["puts_called_off"] == 1
    assert await ours.put("half", b"whole")
    assert await ours.get("half") == b"whole"


async def test_a_client_that_dies_in_mid_read_pins_nothing(process: Process, connect: Connect) -> None:
    ours = await connect(process.port)
    await ours.put("key", b"x" * 3000)
    with other(process) as theirs:
        await theirs.ask("_link.ask('locate', keys=['key'], layer=None)")
        assert await ours.remove("key")
        assert stats(process)["used_bytes"] == 3000, "it is being read"
        theirs.popen.kill()
        await eventually(lambda: stats(process)["used_bytes"] == 0)


async def test_a_client_that_is_silent_counts_as_dead_and_may_come_back(
    impatient: Process, connect: Connect
) -> None:
    ours = await connect(impatient.port)
    with other(impatient, 10_000) as theirs:
        await theirs.ask("put('lost', b'x')")
        os.kill(theirs.popen.pid, signal.SIGSTOP)
        await eventually(lambda: stats(impatient)["clients"] == 1)
        assert await ours.get("lost") is None
        os.kill(theirs.popen.pid, signal.SIGCONT)
        assert await theirs.ask("put('new', b'y')") == "True"
        assert await ours.get_many(["lost", "new"]) == [None, b"y"]
        assert stats(impatient)["capacity_bytes"] == (1 << 20) + 10_000


async def test_when_the_meta_process_dies_errors_are_clear_and_clients_come_back(
    process: Process, connect: Connect
) -> None:
    ours = await connect(process.port, segment_bytes=10_000)
    await ours.put("before", b"x")
    process.kill()
    for ask in (ours.get("before"), ours.put("k", b"x"), ours.exists("before"), ours.remove("before")):
        with pytest.raises(StoreUnreachable, match=f"meta process at 127.0.0.1:{process.port} cannot be"):
            await ask
    process.start()
    await eventually(lambda: ours.put("after", b"y"))
    assert await ours.get_many(["before", "after"]) == [None, b"y"]
    assert stats(process)["capacity_bytes"] == (1 << 20) + 10_000, "the segment is back, empty"
    assert stats(process)["used_bytes"] == 1


async def test_clients_register_again_without_being_asked_anything(
    process: Process, connect: Connect
) -> None:
    await connect(process.port, segment_bytes=10_000)
    process.kill()
    process.start()
    await eventually(lambda: _clients(process) == 1)


async def test_a_meta_process_that_was_stopped_blames_nobody(impatient: Process, connect: Connect) -> None:
    ours = await connect(impatient.port, segment_bytes=10_000)
    await ours.put("key", b"x")
    os.kill(impatient.popen.pid, signal.SIGSTOP)
    await asyncio.sleep(1.5)  # longer than the silence that is taken for death
    os.kill(impatient.popen.pid, signal.SIGCONT)
    assert await ours.get("key") == b"x"
    assert "clients_lost" not in stats(impatient)["counters"]


def _clients(process: Process) -> int:
    try:
        return int(stats(process)["clients"])
    except OSError:
        return -1
