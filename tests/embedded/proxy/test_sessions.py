"""Requests that belong together, and planted bugs of a router."""

from __future__ import annotations

from pathlib import Path as File
from typing import Any

import pytest

from pdtest.embedded.proxy.instances import Instance, Side
from pdtest.embedded.proxy.routing.faults import KINDS
from pdtest.embedded.proxy.routing.path import Path
from pdtest.embedded.proxy.routing.sessions import Sessions
from pdtest.embedded.proxy.routing.settings import RoutingSettings
from pdtest.embedded.switch import UnknownWord, WordSwitch

from .conftest import Deployment, Workshop
from .doubles import prefills, streams
from .test_phases import body, served

HEADER = {"x-user": "u1"}
SETTINGS = RoutingSettings(
    phase="threshold",
    input_threshold=8,
    session_header="X-User",
    session_idle_s=600,
    decode_policy="kv_length",
)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_session_lasts_while_it_is_heard_of() -> None:
    clock = Clock()
    sessions = Sessions(10, clock=clock)
    one, other = (Instance(side=Side.DECODE, address=f"h:{port}", out=None) for port in (1, 2))
    assert sessions.find(Side.DECODE, "s", [one, other]) is None
    sessions.keep(Side.DECODE, "s", other)
    for _ in range(3):
        clock.now += 9
        assert sessions.find(Side.DECODE, "s", [one, other]) is other
        sessions.keep(Side.DECODE, "s", other)
    assert sessions.find(Side.PREFILL, "s", [one, other]) is None
    assert sessions.find(Side.DECODE, "t", [one, other]) is None
    assert sessions.find(Side.DECODE, "s", [one]) is None
    assert sessions.find(Side.DECODE, None, [one, other]) is None
    clock.now += 10.5
    assert sessions.find(Side.DECODE, "s", [one, other]) is None


def test_a_session_ends_with_its_instance() -> None:
    sessions = Sessions(10)
    instance = Instance(side=Side.DECODE, address="h:1", out=None)
    sessions.keep(Side.DECODE, "s", instance)
    sessions.forget(instance)
    assert sessions.find(Side.DECODE, "s", [instance]) is None


async def deployed(workshop: Workshop, **others: Any) -> Deployment:
    routing = RoutingSettings(**vars(SETTINGS) | others)
    return await workshop.deploy([prefills()] * 2, [streams("a")] * 2, streams("h"), routing=routing)


async def decodes(there: Deployment, number: int, headers: dict[str, str] | None = None) -> list[int]:
    """Which decode instance served each of ``number`` requests that one alone can serve."""
    addresses = [engine.address for engine in there.decodes]
    answers = [await there.post(body(1, 1), headers=headers) for _ in range(number)]
    return [addresses.index(served(answer)[2]) for answer in answers]


async def test_requests_of_a_session_stay_together(workshop: Workshop) -> None:
    there = await deployed(workshop)
    (first,) = await decodes(there, 1, HEADER)
    assert sorted(await decodes(there, 2)) == [0, 1]
    assert await decodes(there, 3, HEADER) == [first] * 3
    prefill = {served(await there.post(body(8, 1), headers=HEADER))[1] for _ in range(3)}
    assert len(prefill) == 1


@pytest.mark.parametrize("how", ["removed", "stopped"])
async def test_a_session_goes_on_elsewhere_where_its_instance_is_gone(workshop: Workshop, how: str) -> None:
    there = await deployed(workshop)
    (first,) = await decodes(there, 1, HEADER)
    if how == "stopped":
        await there.decodes[first].stop()
    else:
        named = {"type": "decode", "instance": there.decodes[first].address}
        await there.post(named, "/instances/remove")
    assert await decodes(there, 3, HEADER) == [1 - first] * 3


async def test_an_instance_that_is_back_has_none_of_its_sessions(workshop: Workshop) -> None:
    there = await deployed(workshop)
    (first,) = await decodes(there, 1, HEADER)
    pool = there.proxy.pool
    lost = pool.find(Side.DECODE, there.decodes[first].address)
    assert lost is not None
    pool.take_out(lost, "it is being repaired")
    await there.until_in(2, 2, 1)
    assert await decodes(there, 1, HEADER) == [1 - first]  # the other one's turn was longer ago


async def test_a_session_that_was_silent_starts_anew(workshop: Workshop) -> None:
    there = await deployed(workshop, session_idle_s=1e-9)
    assert sorted(await decodes(there, 2, HEADER)) == [0, 1]


async def switched(workshop: Workshop, switch: File, **others: Any) -> Deployment:
    return await deployed(workshop, fault=f"@{switch}", **others)


@pytest.mark.parametrize(
    ("word", "prompt", "path"),
    [
        ("ignore-threshold", 7, Path.PREFILL),
        ("off-by-one", 8, Path.HYBRID),
        ("off-by-one", 9, Path.PREFILL),
        ("swap-sides", 8, Path.DECODE),
        ("swap-sides", 3, Path.PREFILL),
        ("always-first", 8, Path.PREFILL),
    ],
)
async def test_a_bug_in_the_way_and_its_switch(
    workshop: Workshop, tmp_path: File, word: str, prompt: int, path: Path
) -> None:
    switch = tmp_path / "switch"
    there = await switched(workshop, switch)
    right = Path.PREFILL if prompt >= 8 else Path.HYBRID if prompt >= 4 else Path.DECODE
    assert served(await there.post(body(prompt, 1)))[0] == right
    switch.write_text(f"{word}\n")
    assert served(await there.post(body(prompt, 1)))[0] == path
    switch.write_text("")
    assert served(await there.post(body(prompt, 1)))[0] == right


async def test_always_the_first(workshop: Workshop, tmp_path: File) -> None:
    there = await switched(workshop, tmp_path / "switch")
    assert sorted(await decodes(there, 4)) == [0, 0, 1, 1]
    (tmp_path / "switch").write_text("always-first")
    assert await decodes(there, 3) == [0, 0, 0]


async def test_one_that_was_removed_is_still_sent_requests(workshop: Workshop, tmp_path: File) -> None:
    there = await switched(workshop, tmp_path / "switch")
    await there.post({"type": "decode", "instance": there.decode.address}, "/instances/remove")
    assert await decodes(there, 2) == [1, 1]
    (tmp_path / "switch").write_text("forget-removed")
    assert sorted(await decodes(there, 4)) == [0, 0, 1, 1]


async def test_sessions_that_never_end(workshop: Workshop, tmp_path: File) -> None:
    there = await switched(workshop, tmp_path / "switch", session_idle_s=1e-9)
    (tmp_path / "switch").write_text("sticks-too-long")
    (first,) = await decodes(there, 1, HEADER)
    assert await decodes(there, 2, HEADER) == [first] * 2
    named = {"type": "decode", "instance": there.decodes[first].address}
    await there.post(named, "/instances/remove")
    assert await decodes(there, 2, HEADER) == [first] * 2
    await there.decodes[first].stop()
    assert await decodes(there, 2, HEADER) == [1 - first] * 2


async def test_requests_are_counted_instead_of_tokens(workshop: Workshop, tmp_path: File) -> None:
    there = await switched(workshop, tmp_path / "switch")
    long, short = (there.proxy.pool.find(Side.DECODE, engine.address) for engine in there.decodes)
    assert long is not None
    assert short is not None
    long.kv_length, long.in_flight, short.kv_length, short.in_flight = 1000, 1, 10, 3
    assert await decodes(there, 2) == [1, 1]
    (tmp_path / "switch").write_text("count-requests")
    assert await decodes(there, 2) == [0, 0]


def test_words_that_nobody_knows_are_refused(tmp_path: File) -> None:
    with pytest.raises(UnknownWord, match="off-by-one"):
        WordSwitch("off-by-two", KINDS)
    (tmp_path / "switch").write_text("off-by-two")
    with pytest.raises(UnknownWord, match="'off-by-two'"):
        WordSwitch(f"@{tmp_path}/switch", KINDS).read()
    assert [WordSwitch(kind, KINDS).read() for kind in KINDS] == list(KINDS)
