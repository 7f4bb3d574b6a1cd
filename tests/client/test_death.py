from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from pdtest.client.errors import HttpStatusError, MemberGone, Unreachable
from pdtest.client.request import Request
from pdtest.events.handoff import RequestErrored
from pdtest.events.member import MemberDied

STREAM = Request.tokens([1], stream=True)
DIED = MemberDied(member="decode", returncode=-9, diagnosis="out of memory", last_lines=())
Connect = Callable[..., Any]


@pytest.fixture
def died() -> Future[Any]:
    return Future()


async def test_waiting_request_ends_when_the_member_dies(
    connect: Connect, died: Future[Any], events: list[Any]
) -> None:
    # As a cluster does: from a thread that knows nothing of the event loop.
    timer = threading.Timer(0.1, died.set_result, [DIED])
    timer.start()
    started = time.perf_counter()
    with pytest.raises(MemberGone, match="exit code -9: out of memory"):
        await connect("stalls", died=died).generate(STREAM)
    timer.join()
    assert time.perf_counter() - started < 1.0
    assert isinstance(events[-1], RequestErrored)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_request_to_a_dead_member_ends_at_once(connect: Connect, died: Future[Any]) -> None:
    died.set_result("gone")
    with pytest.raises(MemberGone, match="gone"):
        await connect("stalls", died=died).generate(STREAM)


async def test_broken_connection_of_a_dying_member_is_its_death(
    connect: Connect, died: Future[Any], unused_tcp_port: int
) -> None:
    asyncio.get_running_loop().call_later(0.1, died.set_result, DIED)
    with pytest.raises(MemberGone) as caught:
        await connect(url=f"http://127.0.0.1:{unused_tcp_port}", died=died).generate(STREAM)
    assert isinstance(caught.value.__cause__, Unreachable)


async def test_broken_connection_of_a_living_member_stays_one(
    connect: Connect, died: Future[Any], unused_tcp_port: int
) -> None:
    with pytest.raises(Unreachable):
        await connect(url=f"http://127.0.0.1:{unused_tcp_port}", died=died).generate(STREAM)


async def test_finished_requests_leave_the_future_alone(connect: Connect, died: Future[Any]) -> None:
    endpoint = connect(died=died)
    await endpoint.generate(Request.tokens([1]))
    with pytest.raises(HttpStatusError):
        await connect("status-500", died=died).generate(STREAM)
    assert not died.done()
    assert endpoint._watch._bells == set()
    died.set_result(DIED)
    await asyncio.sleep(0)


async def test_walking_away_leaves_the_future_alone(connect: Connect, died: Future[Any]) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await connect("stalls", died=died).generate(STREAM)
    assert not died.cancelled()


async def test_cancelled_future_is_no_death(connect: Connect, died: Future[Any]) -> None:
    died.cancel()
    answer = await connect(died=died).generate(Request.tokens([1]))
    assert answer.status == 200


async def test_probes_end_too(connect: Connect, died: Future[Any], serve: Any, raw: Any) -> None:
    asyncio.get_running_loop().call_later(0.05, died.set_result, DIED)
    with pytest.raises(MemberGone):
        await connect(url=serve(raw(linger_s=1.0)), died=died).health()


def test_death_after_the_loop_closed(
    connect: Connect, died: Future[Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def leave_a_bell() -> Any:
        endpoint = connect(died=died)
        bell = endpoint._watch._bell()
        bell.__enter__()
        return endpoint, bell

    loop = asyncio.new_event_loop()
    kept = loop.run_until_complete(leave_a_bell())
    loop.close()
    died.set_result(DIED)
    assert kept
    # What a callback raises is logged by concurrent.futures and goes no further.
    assert caplog.records == []
