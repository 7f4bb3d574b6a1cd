"""Planted corruptions, on real transfers: exactly the part that was spoiled is named, and how."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable

import pytest

from pdtest.xray import Diagnosis, Half

from .conftest import CONFIG, MakePair

LAYERS, HEADS, HALVES = range(CONFIG.layers), range(CONFIG.kv_heads), tuple(Half)
#: Three whole blocks and five tokens.
LENGTH, SIZE = 53, 16
BLOCKS = range(4)
#: How many parts are called, and who is spoken of.
BOTH, IS = "all KV heads, K and V", "decode's is"
NEW = "like nothing that was seen in this run"


def prompt(seed: int, length: int = LENGTH) -> list[int]:
    """Each token once: V of the first layer depends on nothing else."""
    return random.Random(seed).sample(range(3, 259), length)  # noqa: S311


def named(diagnosis: Diagnosis) -> set[tuple[int, int, int, Half]]:
    return {(one.layer, one.block, one.head, one.half) for one in diagnosis.mismatches}


def part(
    layers: Iterable[int] = LAYERS,
    blocks: Iterable[int] = BLOCKS,
    heads: Iterable[int] = HEADS,
    halves: Iterable[Half] = HALVES,
) -> set[tuple[int, int, int, Half]]:
    return set(itertools.product(layers, blocks, heads, halves))


CASES = {
    "zeroed": (part(blocks=[0]), f"all layers, block 0 (tokens 0..15), {BOTH}: {IS} zeros"),
    "zeroed,block=-1,head=2,half=v,layer=0": (
        part([0], [3], [2], [Half.V]),
        f"layer 0, block 3 (tokens 48..52), KV head 2, V: {IS} zeros",
    ),
    "shifted": (
        part(blocks=[1, 2, 3]),
        f"all layers, blocks 1..3 (tokens 16..52), {BOTH}: {IS} prefill's previous block",
    ),
    "duplicated": (
        part(blocks=[1]),
        f"all layers, block 1 (tokens 16..31), {BOTH}: {IS} prefill's block 0 (tokens 0..15)",
    ),
    "swapped": (
        part(blocks=[0, 1]),
        f"all layers, block 0 (tokens 0..15), {BOTH}: exchanged with block 1 (tokens 16..31)",
    ),
    "swapped,block=1,layer=2": (
        part([2], [1, 2]),
        f"layer 2, block 1 (tokens 16..31), {BOTH}: exchanged with block 2 (tokens 32..47)",
    ),
    "kv-swapped": (part(), f"all layers, all blocks, {BOTH}: {IS} prefill's other of K and V"),
    "kv-swapped,half=k": (
        part(halves=[Half.K]),
        f"all layers, all blocks, all KV heads, K: {IS} prefill's V",
    ),
    "heads-rolled": (part(), f"all layers, all blocks, {BOTH}: {IS} prefill's previous head"),
    "heads-rolled,head=2": (
        part(heads=[2]),
        f"all layers, all blocks, KV head 2, K and V: {IS} prefill's head 1",
    ),
    "one-layer": (part([1]), f"layer 1, all blocks, {BOTH}: {IS} {NEW}"),
    "one-head,block=2": (
        part(blocks=[2], heads=[1]),
        f"all layers, block 2 (tokens 32..47), KV head 1, K and V: {IS} {NEW}",
    ),
    "one-token": (part(blocks=[0]), f"all layers, block 0 (token 3), {BOTH}: {IS} {NEW}"),
    "scaled": (part(), f"all layers, all blocks, {BOTH}: {IS} prefill's times 1.01"),
    "scaled,layer=2,block=3,head=1,half=v": (
        part([2], [3], [1], [Half.V]),
        f"layer 2, block 3 (tokens 48..52), KV head 1, V: {IS} prefill's times 1.01",
    ),
    "scaled,factor=-2,layer=1": (part([1]), f"layer 1, all blocks, {BOTH}: {IS} prefill's times -2"),
    "low-precision": (
        part(),
        f"all layers, all blocks, {BOTH}: {IS} nearly prefill's, as after a round trip through fewer bits",
    ),
}


@pytest.mark.parametrize(("prefill", "decode"), [(1, 1), (2, 1), (1, 2), (4, 2)])
async def test_what_was_spoiled_is_named(pair: MakePair, prefill: int, decode: int) -> None:
    two = await pair(prefill={"tensor_ranks": prefill}, tensor_ranks=decode)
    assert (await two.diagnosis(prompt(0))).equal
    for seed, (fault, (expected, words)) in enumerate(CASES.items(), 1):
        seen = await two.diagnosis(prompt(seed), fault)
        assert named(seen) == expected, fault
        assert seen.lines == (words,), fault
        assert not seen.equal
    assert (await two.diagnosis(prompt(1000))).equal


@pytest.mark.parametrize("connector", ["NixlPushConnector", "MooncakeConnectorV1"])
async def test_with_other_connectors(pair: MakePair, connector: str) -> None:
    two = await pair(connector)
    assert (await two.diagnosis(prompt(0))).equal
    expected, words = CASES["scaled,layer=2,block=3,head=1,half=v"]
    seen = await two.diagnosis(prompt(1), "scaled,layer=2,block=3,head=1,half=v")
    assert named(seen) == expected
    assert seen.lines == (words,)


@pytest.mark.parametrize("kind", ["stale", "truncated"])
async def test_what_another_request_had_is_traced_to_it(pair: MakePair, kind: str) -> None:
    two = await pair(blocks=5, prefix_caching=False)
    before = await two.hand_over(prompt(1))
    seen = await two.diagnosis(prompt(2), f"{kind},block=1")
    tokens = "16..31" if kind == "stale" else "24..31"
    where = f"all layers, block 1 (tokens {tokens}), {BOTH}"
    assert seen.lines == (f"{where}: {IS} what request {before} had at the same place",)


async def test_two_whole_blocks_exchanged_show_again_in_the_prefix_cache(pair: MakePair) -> None:
    two = await pair()
    asked = prompt(3)
    await two.diagnosis(asked, "swapped")
    again = await two.diagnosis(asked)
    where = f"all layers, block 0 (tokens 0..15) from the prefix cache, {BOTH}"
    assert again.lines == (f"{where}: exchanged with block 1 (tokens 16..31)",)


async def test_a_fault_begins_after_as_many_loads_as_it_says(pair: MakePair) -> None:
    two = await pair(prefix_caching=False)
    equal = [(await two.diagnosis(prompt(seed), "zeroed,after=2")).equal for seed in range(4)]
    assert equal == [True, True, False, False]


async def test_a_single_token_and_a_prompt_of_one_block(pair: MakePair) -> None:
    two = await pair(prefix_caching=False)
    for length in (1, 16):
        seen = await two.diagnosis(prompt(length, length), "zeroed,layer=0,head=0,half=k")
        tokens = "token 0" if length == 1 else "tokens 0..15"
        assert seen.lines == (f"layer 0, block 0 ({tokens}), KV head 0, K: decode's is zeros",)
