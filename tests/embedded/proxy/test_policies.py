from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdtest.embedded.proxy.dispatch import Dispatcher
from pdtest.embedded.proxy.errors import NoneLeft
from pdtest.embedded.proxy.instances import Instance, Pool, Side
from pdtest.embedded.proxy.policies.registry import POLICIES
from pdtest.embedded.proxy.policies.round_robin import RoundRobin
from pdtest.embedded.proxy.request import ClientRequest
from pdtest.embedded.proxy.routing.sessions import Sessions
from pdtest.embedded.proxy.routing.settings import RoutingSettings
from pdtest.embedded.proxy.work import Outcome, Work

from .conftest import Workshop
from .doubles import prefills, streams


def _request(tokens: int = 0) -> ClientRequest:
    return ClientRequest(path="/v1/completions", body={}, request_id="r", prompt_tokens=tokens)


def _pool(size: int, side: Side = Side.DECODE) -> Pool:
    pool = Pool()
    for number in range(size):
        pool.add(Instance(side=side, address=f"host:{number + 1}", out=None))
    return pool


def _dispatcher(pool: Pool, policy: str) -> Dispatcher:
    return Dispatcher(pool, {side: POLICIES[policy]() for side in Side}, Sessions(None))


@given(size=st.integers(1, 6), turns=st.integers(0, 40))
def test_in_turn_everybody_gets_the_same(size: int, turns: int) -> None:
    dispatcher = _dispatcher(_pool(size), "round_robin")
    counts = Counter(dispatcher.choose(Side.DECODE, _request()).address for _ in range(turns))
    shares = [counts[instance.address] for instance in dispatcher.pool]
    assert max(shares) - min(shares) <= 1


@given(st.lists(st.sets(st.integers(0, 4), max_size=4), max_size=40))
def test_instances_that_come_and_go_take_nothing_from_the_others(outs: list[set[int]]) -> None:
    """Number 4 is always there: between two of its turns nobody else has two."""
    pool = _pool(5)
    every = list(pool)
    dispatcher = _dispatcher(pool, "round_robin")
    since: list[Instance] = []
    for out in outs:
        for number, instance in enumerate(every):
            instance.out = "out" if number in out - {4} else None
        chosen = dispatcher.choose(Side.DECODE, _request())
        assert chosen.out is None
        since = [] if chosen is every[4] else [*since, chosen]
        assert len(since) == len(set(since))


@given(
    policy=st.sampled_from(["least_loaded", "kv_length"]),
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("begin"), st.integers(0, 500)),
            st.tuples(st.just("end"), st.integers(0, 60)),
            st.tuples(st.just("token"), st.integers(0, 60)),
        ),
        min_size=20,
        max_size=60,
    ),
)
def test_the_one_with_the_least_gets_it_and_all_is_zero_in_the_end(
    policy: str, steps: list[tuple[str, int]]
) -> None:
    pool = _pool(3)
    dispatcher = _dispatcher(pool, policy)
    under_way: list[Work] = []
    for step, number in steps:
        if step == "end" and under_way:
            under_way.pop(number % len(under_way)).end(Outcome.DONE)
        elif step == "token" and under_way:
            under_way[number % len(under_way)].generated(1)
        elif step == "begin":
            load = {one: (one.in_flight if policy == "least_loaded" else one.kv_length) for one in pool}
            chosen = dispatcher.choose(Side.DECODE, _request(number))
            assert load[chosen] == min(load.values())
            under_way.append(dispatcher.begin(chosen, _request(number)))
        for one in pool:
            mine = [work for work in under_way if work.instance is one]
            assert one.in_flight == len(mine)
            assert one.kv_length == sum(work.length for work in mine)
    for work in under_way:
        work.end(Outcome.ABORTED)
    assert [(one.in_flight, one.kv_length) for one in pool] == [(0, 0)] * 3


@pytest.mark.parametrize("policy", sorted(set(POLICIES) - {"random", "power_of_two", "consistent_hash"}))
def test_equals_take_turns(policy: str) -> None:
    dispatcher = _dispatcher(_pool(3), policy)
    chosen = [dispatcher.choose(Side.DECODE, _request()).address for _ in range(6)]
    assert chosen == ["host:1", "host:2", "host:3"] * 2


@pytest.mark.parametrize("policy", ["least_loaded", "kv_length"])
def test_who_is_done_first_gets_the_next(policy: str) -> None:
    dispatcher = _dispatcher(_pool(3), policy)
    works = [dispatcher.begin(dispatcher.choose(Side.DECODE, _request(5)), _request(5)) for _ in range(3)]
    works[1].end(Outcome.DONE)
    assert dispatcher.choose(Side.DECODE, _request()) is works[1].instance


def test_long_prompts_weigh_more_than_many_requests() -> None:
    dispatcher = _dispatcher(_pool(2), "kv_length")
    first, second = dispatcher.pool
    dispatcher.begin(first, _request(1000))
    for _ in range(3):
        dispatcher.begin(second, _request(10))
    assert dispatcher.choose(Side.DECODE, _request()) is second
    assert _dispatcher(dispatcher.pool, "least_loaded").choose(Side.DECODE, _request()) is first


def test_what_an_engine_counted_takes_the_place_of_the_estimate() -> None:
    (instance,) = pool = _pool(1)
    work = _dispatcher(pool, "kv_length").begin(instance, _request(10))
    work.generated(2)
    work.counted(25)
    work.counted(25)
    assert instance.kv_length == 27
    work.end(Outcome.DONE)
    work.end(Outcome.FAILED)
    work.generated(5)
    assert (instance.kv_length, instance.in_flight, instance.done, instance.failed) == (0, 0, 1, 0)


def test_none_left_says_why() -> None:
    pool = _pool(2)
    dispatcher = _dispatcher(pool, "round_robin")
    first, second = pool
    first.out = "it is being repaired"
    with pytest.raises(NoneLeft, match=r"host:1: it is being repaired; host:2: it failed this request"):
        dispatcher.choose(Side.DECODE, _request(), [second])
    with pytest.raises(NoneLeft, match=r"no prefill instance .* there is none"):
        dispatcher.choose(Side.PREFILL, _request())


def test_a_policy_hears_of_beginnings_and_ends() -> None:
    class Listens(RoundRobin):
        def __init__(self) -> None:
            self.heard: list[tuple[str, str, Outcome | None]] = []

        def began(self, work: Work) -> None:
            self.heard.append(("began", work.instance.address, work.outcome))

        def ended(self, work: Work) -> None:
            self.heard.append(("ended", work.instance.address, work.outcome))

    policy = Listens()
    dispatcher = Dispatcher(_pool(1), {Side.DECODE: policy}, Sessions(None))
    dispatcher.begin(next(iter(dispatcher.pool)), _request()).end(Outcome.FAILED)
    assert policy.heard == [("began", "host:1", None), ("ended", "host:1", Outcome.FAILED)]


def test_sides_are_chosen_apart() -> None:
    pool = _pool(1)
    pool.add(Instance(side=Side.PREFILL, address="host:1", out=None))
    dispatcher = _dispatcher(pool, "least_loaded")
    assert dispatcher.choose(Side.PREFILL, _request()).side is Side.PREFILL
    assert dispatcher.choose(Side.DECODE, _request()).side is Side.DECODE


@pytest.mark.parametrize("policy", list(POLICIES))
async def test_each_policy_leads_requests(workshop: Workshop, policy: str) -> None:
    routing = RoutingSettings(policy=policy)
    there = await workshop.deploy([prefills()] * 2, [streams("a")] * 2, routing=routing)
    for _ in range(4):
        assert (await there.post({"prompt": "p"})).status == 200
    seen = [len(engine.seen) for engine in (*there.prefills, *there.decodes)]
    assert sum(seen[:2]) == sum(seen[2:]) == 4
    if policy in ("round_robin", "least_loaded", "kv_length"):
        assert seen == [2, 2, 2, 2]
