"""How busy instances are, and what follows: overload, and how many there should be."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pdtest.embedded.proxy.instances import Side
from pdtest.embedded.proxy.routing.occupancy import Occupancy
from pdtest.embedded.proxy.routing.settings import RoutingSettings
from pdtest.embedded.proxy.routing.wanted import Bounds, Wanted

from .conftest import Deployment, Workshop
from .doubles import Exchange, prefills, streams, until
from .test_phases import body

BOUNDS = Bounds(least=1, most=3, busy=0.8, idle=0.2, over_s=2.0)


class Clock:
    now = 50.0

    def __call__(self) -> float:
        return self.now


@example([("begin", 10), ("end", 8)], 10)  # of what it did, a part is over for too long
@given(
    st.lists(st.tuples(st.sampled_from(["begin", "end", "pause"]), st.integers(0, 30)), max_size=60),
    st.integers(1, 50),
)
def test_the_share_is_that_of_the_seconds_in_which_there_was_work(
    steps: list[tuple[str, int]], window: int
) -> None:
    clock = Clock()
    occupancy, works, busy = Occupancy(clock=clock), 0, [False] * 200
    for step, seconds in steps:
        if step == "begin":
            occupancy.began()
            works += 1
        elif step == "end" and works:
            occupancy.ended()
            works -= 1
        clock.now += seconds
        busy += [works > 0] * seconds
        assert occupancy.share(window) == pytest.approx(sum(busy[-window:]) / window)


def test_wanted_goes_up_once_they_were_busy_for_long_enough_and_only_step_by_step() -> None:
    wanted = Wanted(BOUNDS)
    assert [wanted.look(1, 0.8, at) for at in (0, 1.9, 2.0)] == [1, 1, 2]
    assert [wanted.look(1, 1.0, at) for at in (3, 9)] == [2, 2]  # it is not there yet
    assert [wanted.look(2, 0.9, at) for at in (10, 10.5)] == [3, 3]
    assert [wanted.look(3, 0.9, at) for at in (11, 30)] == [3, 3]
    assert [wanted.look(3, share, at) for share, at in ((0.2, 31), (0.21, 32), (0.1, 33), (0, 35))] == [
        3,
        3,
        3,
        2,
    ]
    assert [wanted.look(2, 0, at) for at in (36, 38, 60)] == [2, 1, 1]


def test_wanted_is_taken_back_where_nobody_came() -> None:
    wanted = Wanted(BOUNDS)
    assert [wanted.look(1, share, at) for share, at in ((1, 0), (1, 2), (0, 3), (0, 5))] == [1, 2, 2, 1]


@pytest.mark.parametrize(("now", "number"), [(0, 1), (1, 1), (3, 3), (5, 3)])
def test_wanted_begins_with_what_is_there_within_bounds(now: int, number: int) -> None:
    assert Wanted(BOUNDS).look(now, 0.5, 0) == number


def test_who_registers_only_later_is_not_too_many() -> None:
    wanted = Wanted(BOUNDS)
    assert [wanted.look(now, 0.5, 0) for now in (0, 3)] == [1, 3]


@given(
    st.lists(st.tuples(st.integers(0, 6), st.floats(0, 1), st.floats(0, 3)), max_size=60),
    st.integers(1, 4),
    st.integers(0, 3),
)
def test_wanted_is_within_bounds_and_moves_by_one(
    seen: list[tuple[int, float, float]], least: int, more: int
) -> None:
    wanted = Wanted(Bounds(least=least, most=least + more, busy=0.8, idle=0.2, over_s=2.0))
    at, before, changed_at = 0.0, None, -2.0
    for now, share, pause_s in seen:
        at += pause_s
        number = wanted.look(now, share, at)
        assert least <= number <= least + more
        if wanted.number is not None and before is not None and number != before:
            assert abs(number - before) == 1
            assert at - changed_at >= 2.0
            changed_at = at
        before = wanted.number


async def _figures(there: Deployment) -> dict[str, float]:
    async with there.client.get(there.url + "/metrics") as answer:
        lines = (await answer.text()).splitlines()
    told = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name.removeprefix("pdtest_proxy_"): float(value) for name, _, value in told}


async def test_an_overloaded_prefill_is_told_until_it_is_over(
    workshop: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    release = asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        await release.wait()
        await prefills()(exchange)

    caplog.set_level(logging.WARNING)
    there = await workshop.deploy(prefill=slow, routing=RoutingSettings(busy_window_s=0.3))
    labels = f'{{leg="prefill",instance="{there.prefill.address}"}}'
    assert (await _figures(there))[f"overloaded{labels}"] == 0
    (instance,) = there.proxy.pool.of(Side.PREFILL)
    waiting = [asyncio.create_task(there.post(body(1, 1))) for _ in range(2)]
    await until(lambda: instance.overloaded)
    figures = await _figures(there)
    assert figures[f"overloaded{labels}"] == 1
    assert 0.9 < figures[f"busy_ratio{labels}"] <= 1
    assert f'overloaded{{leg="decode",instance="{there.decode.address}"}}' not in figures
    release.set()
    assert [(await one).headers.get("x-pdtest-overload") for one in waiting] == ["1", "1"]
    await until(lambda: not instance.overloaded)
    assert "x-pdtest-overload" not in (await there.post(body(1, 1))).headers
    assert sum("is overloaded" in record.message for record in caplog.records) == 1


async def test_more_are_wanted_and_fewer_again(workshop: Workshop) -> None:
    release = asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        await release.wait()
        await streams("a")(exchange)

    routing = RoutingSettings(busy_window_s=0.2, scale_decode=(1, 2), scale_over_s=0.2)
    there = await workshop.deploy(decode=slow, routing=routing)
    bounds = {"least": 1, "most": 2}
    assert await there.get("/scaling") == (200, {"decode": {"now": 1, "wanted": 1, **bounds}})
    waiting = asyncio.create_task(there.post(body(1, 1)))
    wanted = there.proxy.pulse.wanted[Side.DECODE]
    await until(lambda: wanted.number == 2)
    more = await workshop.engine(slow)
    await there.post({"type": "decode", "instance": more.address}, "/instances/add")
    assert await there.get("/scaling") == (200, {"decode": {"now": 2, "wanted": 2, **bounds}})
    assert (await _figures(there))['instances_wanted{leg="decode"}'] == 2
    release.set()
    await waiting
    await until(lambda: wanted.number == 1)
    removed = await there.post({"type": "decode", "instance": more.address}, "/instances/remove")
    assert json.loads(removed.content)["decode_instances"] == [there.decode.address]
    assert await there.get("/scaling") == (200, {"decode": {"now": 1, "wanted": 1, **bounds}})


async def test_without_bounds_nothing_is_said(workshop: Workshop) -> None:
    there = await workshop.deploy()
    assert await there.get("/scaling") == (200, {})


async def test_what_caches_had_is_counted_by_who_computed_the_prompt(workshop: Workshop) -> None:
    def tells(cached: int) -> dict[str, object]:
        usage = {
            "prompt_tokens": 10,
            "completion_tokens": 1,
            "prompt_tokens_details": {"cached_tokens": cached},
        }
        return {"choices": [], "usage": usage, "kv_transfer_params": {}}

    async def prefill(exchange: Exchange) -> None:
        await exchange.answer(200, tells(4))

    async def hybrid(exchange: Exchange) -> None:
        await exchange.answer(200, tells(7))

    routing = RoutingSettings(phase="threshold", input_threshold=8)
    there = await workshop.deploy(prefill, hybrid, hybrid, routing=routing)
    for prompt, answer in ((8, 1), (8, 1), (8, 3)):
        assert (await there.post(body(prompt, answer))).status == 200
    figures = await _figures(there)
    prefills_, hybrids = (
        f'{{leg="{leg}",instance="{engine.address}"}}'
        for leg, engine in (("prefill", there.prefill), ("hybrid", there.hybrid))
    )
    assert [figures[f"{name}_tokens_total{prefills_}"] for name in ("prompt", "cached")] == [20, 8]
    assert [figures[f"{name}_tokens_total{hybrids}"] for name in ("prompt", "cached")] == [10, 7]
    assert not any(name.startswith('cached_tokens_total{leg="decode"') for name in figures)
