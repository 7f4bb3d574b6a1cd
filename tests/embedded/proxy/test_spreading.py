"""Policies by chance, by hash and by what was computed before."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdtest.embedded.proxy.blocks import blocks_of
from pdtest.embedded.proxy.instances import Instance, Side
from pdtest.embedded.proxy.policies.cache_aware import CacheAware
from pdtest.embedded.proxy.policies.consistent_hash import ConsistentHash
from pdtest.embedded.proxy.policies.policy import Policy
from pdtest.embedded.proxy.policies.power_of_two import PowerOfTwo
from pdtest.embedded.proxy.policies.random_choice import RandomChoice
from pdtest.embedded.proxy.request import ClientRequest


def instances(number: int) -> list[Instance]:
    return [Instance(side=Side.PREFILL, address=f"host:{one + 1}", out=None) for one in range(number)]


def asks(prompt: object, session: str | None = None) -> ClientRequest:
    return ClientRequest(path="/v1/completions", body={"prompt": prompt}, request_id="r", session=session)


def chance(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311


def tokens(seed: int, number: int) -> list[int]:
    return chance(seed).choices(range(1, 250), k=number)


class Turns:
    """As the dispatcher: whoever was chosen had its turn."""

    def __init__(self, policy: Policy, candidates: Sequence[Instance]) -> None:
        self.policy = policy
        self.candidates = candidates
        self._turn = 0

    def choose(self, request: ClientRequest) -> Instance:
        self._turn += 1
        chosen = self.policy.choose(self.candidates, request)
        chosen.turn = self._turn
        return chosen


def test_chance_gives_everybody_about_the_same() -> None:
    few = instances(4)
    policy = RandomChoice(chance(7))
    counts = Counter(policy.choose(few, asks("p")).address for _ in range(4000))
    assert len(counts) == 4
    assert all(850 < count < 1150 for count in counts.values())  # 1000 expected, sigma 27


@given(loads=st.lists(st.integers(0, 9), min_size=2, max_size=6), seed=st.integers(0, 999))
def test_of_two_the_less_loaded_so_that_the_most_loaded_never_gets_it(loads: list[int], seed: int) -> None:
    few = instances(len(loads))
    for instance, load in zip(few, loads, strict=True):
        instance.in_flight = load
    policy = PowerOfTwo(chance(seed))
    for _ in range(8):
        chosen = policy.choose(few, asks("p"))
        assert sum(one.in_flight >= chosen.in_flight for one in few if one is not chosen) >= 1
    assert PowerOfTwo().choose(few[:1], asks("p")) is few[0]


def test_of_two_not_always_the_least_loaded_of_all() -> None:
    few = instances(3)
    for load, instance in enumerate(few):
        instance.in_flight = load
    policy = PowerOfTwo(chance(1))
    counts = Counter(policy.choose(few, asks("p")).in_flight for _ in range(3000))
    assert counts[2] == 0
    assert 900 < counts[1] < 1100  # where the least loaded is not drawn: a third
    assert counts[0] > 1900


@settings(max_examples=30, deadline=None)
@given(
    number=st.integers(2, 8), lost=st.integers(0, 7), sessions=st.sets(st.text(), min_size=20, max_size=20)
)
def test_by_hash_only_those_of_the_lost_instance_move(number: int, lost: int, sessions: set[str]) -> None:
    few = instances(number)
    policy = ConsistentHash()
    before = {session: policy.choose(few, asks("p", session)) for session in sessions}
    assert before == {session: policy.choose(few[::-1], asks("other", session)) for session in sessions}
    left = [one for one in few if one is not few[lost % number]]
    for session, instance in before.items():
        after = policy.choose(left, asks("p", session))
        assert after is instance if instance in left else after in left


def test_by_hash_sessions_are_spread() -> None:
    few = instances(4)
    counts = Counter(ConsistentHash().choose(few, asks("p", f"s{one}")).address for one in range(2000))
    assert len(counts) == 4
    assert all(400 < count < 600 for count in counts.values())  # 500 expected, sigma 19


def test_by_hash_without_a_session_the_beginning_of_the_prompt_decides() -> None:
    few, policy = instances(8), ConsistentHash()
    begins = [tokens(seed, 64) for seed in range(40)]
    chosen = [policy.choose(few, asks(begin)) for begin in begins]
    assert chosen == [policy.choose(few, asks(begin + tokens(99, 50))) for begin in begins]
    assert len(set(chosen)) > 4
    assert len({policy.choose(few, asks(f"short {one}")) for one in range(40)}) > 4


def test_prompts_that_share_a_beginning_go_where_it_is() -> None:
    few = instances(3)
    turns = Turns(CacheAware(), few)
    begins = [tokens(seed, 160) for seed in range(9)]
    first = [turns.choose(asks(begin)) for begin in begins]
    assert Counter(one.address for one in first) == {"host:1": 3, "host:2": 3, "host:3": 3}
    order = list(range(9)) * 3
    chance(3).shuffle(order)
    for number in order:
        assert turns.choose(asks(begins[number] + tokens(100 + len(order), 100))) is first[number]


def test_the_longest_part_counts_and_not_the_last_one() -> None:
    few = instances(2)
    turns = Turns(CacheAware(), few)
    common = tokens(1, 64)
    long_one, other = common + tokens(2, 160), common + tokens(3, 160)
    owner = turns.choose(asks(long_one))
    # 64 of 224 tokens are known: too few to go there, and the other one is emptier.
    assert turns.choose(asks(other)) is not owner
    assert turns.choose(asks(long_one[:192])) is owner
    assert turns.choose(asks(other[:192])) is not owner


@pytest.mark.parametrize(("known", "goes_there"), [(48, False), (64, True)])
def test_less_than_a_third_is_not_worth_it(known: int, goes_there: bool) -> None:
    few = instances(2)
    turns = Turns(CacheAware(), few)
    begin = tokens(1, 160)
    owner = turns.choose(asks(begin))
    assert (turns.choose(asks(begin[:known] + tokens(2, 160 - known))) is owner) is goes_there


def test_who_has_much_more_to_do_gets_no_more() -> None:
    few = instances(2)
    turns = Turns(CacheAware(), few)
    begin = tokens(1, 160)
    owner = turns.choose(asks(begin))
    other = next(one for one in few if one is not owner)
    owner.in_flight = 64
    assert turns.choose(asks(begin)) is owner
    owner.in_flight = 65
    assert turns.choose(asks(begin)) is other
    owner.in_flight = 0
    assert {turns.choose(asks(begin)) for _ in range(2)} == {owner, other}  # now both have it


def test_who_was_gone_has_nothing_left() -> None:
    few = instances(2)
    policy = CacheAware()
    turns = Turns(policy, few)
    begin = tokens(1, 160)
    owner = turns.choose(asks(begin))
    policy.gone(owner)
    other = next(one for one in few if one is not owner)
    assert turns.choose(asks(tokens(2, 16))) is other  # whose turn it is, among equals
    assert turns.choose(asks(begin)) is owner


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 12)), max_size=40))
def test_what_is_remembered_is_bounded_and_counted(asked: list[tuple[int, int]]) -> None:
    few = instances(3)
    policy = CacheAware(most_blocks=10)
    turns = Turns(policy, few)
    for seed, length in asked:
        turns.choose(asks(tokens(seed, 200)[: 16 * length]))
        holders = policy._holders.values()
        assert len(holders) <= 10
        for instance in few:
            assert policy._held[instance] == sum(instance in some for some in holders)


@pytest.mark.parametrize(
    ("body", "same"),
    [
        ({"prompt": [1] * 40}, {"prompt": [1] * 32 + [2] * 8}),
        ({"prompt": "a" * 130}, {"prompt": "a" * 128 + "b"}),
        ({"prompt": ["a" * 130, "c"]}, {"prompt": "a" * 128}),
        (
            {"messages": [{"role": "user", "content": "a" * 130}]},
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "a" * 130}]}]},
        ),
    ],
)
def test_blocks_are_whole_and_know_what_is_before_them(
    body: dict[str, object], same: dict[str, object]
) -> None:
    assert len(blocks_of(body)) == 2
    assert blocks_of(body) == blocks_of(same)
    swapped = blocks_of({"prompt": [3] * 16 + [1] * 16})
    assert set(swapped).isdisjoint(blocks_of({"prompt": [1] * 32}))


@pytest.mark.parametrize(
    "odd", [{}, {"prompt": None}, {"prompt": [1.5] * 20}, {"messages": 3}, {"prompt": [[None]]}]
)
def test_what_is_no_prompt_has_no_blocks(odd: dict[str, object]) -> None:
    assert blocks_of(odd) == ()
