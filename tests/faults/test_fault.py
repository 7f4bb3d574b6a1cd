from __future__ import annotations

import asyncio

import pytest

from pdtest.faults import Aftermath, Unverified, inflicted
from pdtest.faults.fault import to_its_end

from .conftest import Told


class Scripted:
    """A fault that notes what is done with it."""

    name = "scripted"
    target = "nobody"
    members = frozenset({"nobody"})
    aftermath = Aftermath()

    def __init__(self, *, verifies: bool = True, lifts_in_s: float = 0.0) -> None:
        self.done: list[str] = []
        self._verifies = verifies
        self._lifts_in_s = lifts_in_s

    async def arm(self) -> None:
        self.done.append("armed")

    async def verify(self) -> str:
        if not self._verifies:
            raise Unverified("nothing was seen")
        return "seen"

    async def lift(self) -> None:
        await asyncio.sleep(self._lifts_in_s)
        self.done.append("lifted")


async def test_it_is_armed_verified_and_lifted() -> None:
    fault, told = Scripted(), Told()
    async with inflicted(fault, tell=told.append, test="a test") as seen:
        assert fault.done == ["armed"]
        assert seen.what == "seen"
    assert fault.done == ["armed", "lifted"]
    assert told.kinds == ["FaultArmed", "FaultVerified", "FaultLifted"]
    assert {event.test for event in told} == {"a test"}  # type: ignore[attr-defined]


async def test_what_is_not_verified_never_reaches_the_test_and_is_lifted() -> None:
    fault, told = Scripted(verifies=False), Told()
    with pytest.raises(Unverified):
        async with inflicted(fault, tell=told.append):
            pytest.fail("unreachable")
    assert fault.done == ["armed", "lifted"]
    assert told.kinds == ["FaultArmed", "FaultLifted"]


async def test_it_is_lifted_when_the_test_fails() -> None:
    fault = Scripted()
    with pytest.raises(ZeroDivisionError):
        async with inflicted(fault):
            raise ZeroDivisionError
    assert fault.done[-1] == "lifted"


async def test_it_is_lifted_to_the_end_however_often_it_is_cancelled() -> None:
    fault = Scripted(lifts_in_s=0.1)

    async def under_it() -> None:
        async with inflicted(fault):
            await asyncio.sleep(60)

    task = asyncio.create_task(under_it())
    await asyncio.sleep(0.02)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0.02)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert fault.done == ["armed", "lifted"]


async def test_what_mending_raises_is_not_lost() -> None:
    async def fails() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await to_its_end(fails())
