from __future__ import annotations

from collections.abc import Sequence

import pytest

from pdtest.embedded.engine.blocks import Blocks
from pdtest.embedded.engine.record import Record, State
from pdtest.embedded.engine.sampling import Sampler
from pdtest.embedded.engine.scheduler import Chunk, Scheduler

from .sequences import sequence, text

BLOCK = 4


def scheduler(*, blocks: int = 16, running: int = 8, tokens: int = 64, caching: bool = True) -> Scheduler:
    return Scheduler(blocks=Blocks(blocks), block_size=BLOCK, caching=caching, running=running, tokens=tokens)


def record(prompt: Sequence[int], **sampling: int) -> Record:
    one = sequence(prompt, **sampling)
    return Record(sequence=one, sampler=Sampler(one, eos_id=0, seed=0))


def admitted(one: Scheduler, *records: Record) -> list[Record]:
    """Those of ``records`` that may run."""
    one.waiting.extend(records)
    seen = []
    while (got := one.admit()) is not None:
        one.run(got)
        seen.append(got)
    return seen


def compute(one: Scheduler, chunks: Sequence[Chunk]) -> None:
    """As the engine does, with tokens that are all 9."""
    for chunk in chunks:
        chunk.record.sequence.computed += chunk.count
        one.enter(chunk.record)
        if not chunk.record.remaining:
            chunk.record.sequence.output.append(9)


def counts(chunks: Sequence[Chunk]) -> list[int]:
    return [chunk.count for chunk in chunks]


def finish(one: Scheduler, done: Record) -> None:
    one.remove(done)
    done.state = State.ENDED
    one.blocks.release(done.sequence.blocks)


def test_prompts_get_blocks_for_all_their_tokens() -> None:
    one = scheduler()
    (got,) = admitted(one, record(text(9)))
    assert len(got.sequence.blocks) == 3
    assert got.sequence.computed == 0
    assert one.blocks.used == 3


def test_a_prompt_is_computed_in_chunks_behind_those_who_decode() -> None:
    one = scheduler(tokens=6)
    first, second = admitted(one, record(text(4)), record(text(13, 1)))
    plan = one.plan()
    assert counts(plan) == [4, 2]
    compute(one, plan)
    assert first.sequence.output == [9]
    for expected in ([1, 5], [1, 5], [1, 1], [1, 1]):
        plan = one.plan()
        assert counts(plan) == expected
        compute(one, plan)
    assert len(second.sequence.output) == 2


def test_at_most_so_many_run() -> None:
    one = scheduler(running=2)
    records = [record(text(3, number)) for number in range(3)]
    assert admitted(one, *records) == records[:2]
    finish(one, records[0])
    assert admitted(one) == records[2:]


def test_loaded_ones_wait_for_a_place_too() -> None:
    one = scheduler(running=1)
    first, second = record(text(3)), record(text(3, 1))
    admitted(one, first)
    one.loaded(second)
    assert [chunk.record for chunk in one.plan()] == [first]
    finish(one, first)
    assert [chunk.record for chunk in one.plan()] == [second]
    assert second.state is State.RUNNING


def test_who_does_not_fit_waits_and_so_do_those_behind() -> None:
    one = scheduler(blocks=4)
    large, larger, small = record(text(9)), record(text(13, 1)), record(text(2, 2))
    assert admitted(one, large, larger, small) == [large]
    finish(one, large)
    assert admitted(one) == [larger]


@pytest.mark.parametrize(("length", "found"), [(8, 4), (9, 8), (7, 4), (12, 8), (4, 0)])
def test_the_prefix_cache_never_has_the_whole_prompt(length: int, found: int) -> None:
    one = scheduler()
    (first,) = admitted(one, record(text(12)))
    compute(one, one.plan())
    finish(one, first)
    (second,) = admitted(one, record(text(length)))
    assert second.sequence.computed == found
    assert len(second.sequence.blocks) == -(-length // BLOCK)


def test_only_what_was_computed_is_in_the_prefix_cache() -> None:
    one = scheduler(tokens=6)
    (first,) = admitted(one, record(text(13)))
    compute(one, one.plan())
    (second,) = admitted(one, record(text(13)))
    assert second.sequence.computed == 4
    assert second.sequence.blocks[0] == first.sequence.blocks[0]


def test_answers_are_in_the_prefix_cache_too() -> None:
    one = scheduler()
    (first,) = admitted(one, record(text(6), max_tokens=5))
    for _ in range(5):
        compute(one, one.plan())
    finish(one, first)
    (second,) = admitted(one, record([*text(6), 9, 9, 9]))
    assert second.sequence.computed == 8


@pytest.mark.parametrize("reason", ["caching is off", "prompt_logprobs"])
def test_the_prefix_cache_is_not_used_when(reason: str) -> None:
    one = scheduler(caching=reason != "caching is off")
    (first,) = admitted(one, record(text(12)))
    compute(one, one.plan())
    finish(one, first)
    options = {"prompt_logprobs": 0} if reason == "prompt_logprobs" else {}
    (second,) = admitted(one, record(text(12), **options))
    assert second.sequence.computed == 0


def test_the_last_to_come_makes_room() -> None:
    one = scheduler(blocks=4)
    first, second = admitted(one, record(text(4)), record(text(4, 1)))
    compute(one, one.plan())  # a token each; the next one needs a block
    compute(one, one.plan())
    assert one.blocks.free == 0
    for _ in range(3):
        compute(one, one.plan())
    plan = one.plan()  # the first one's ninth token
    assert [chunk.record for chunk in plan] == [first]
    assert second.state is State.WAITING
    assert (second.sequence.blocks, second.sequence.computed) == ([], 0)
    assert one.preempted == 1
    compute(one, plan)
    assert one.admit() is None
    finish(one, first)
    # What was computed of it is still in the prefix cache, but for what the first one took.
    assert one.admit() is second
    assert second.sequence.computed == 4
    assert second.sequence.output == [9] * 5


def test_who_cannot_grow_and_is_last_makes_room_itself() -> None:
    one = scheduler(blocks=2)
    (held,) = admitted(one, record(text(3)))
    one.remove(held)  # its blocks are not given back, as when a connector holds them
    (last,) = admitted(one, record(text(4, 1)))
    compute(one, one.plan())
    assert one.plan() == []
    assert last.state is State.WAITING
    assert one.admit() is None


def test_room_is_left_for_those_who_grow() -> None:
    one = scheduler(blocks=3)
    first, second = record(text(7)), record(text(3, 1))
    assert admitted(one, first, second) == [first]
    finish(one, first)
    assert admitted(one) == [second]


def test_what_is_removed_leaves_its_queue() -> None:
    one = scheduler()
    waiting, ready, running = record(text(3)), record(text(3)), record(text(3))
    admitted(one, running)
    one.loaded(ready)
    one.waiting.append(waiting)
    for gone in (waiting, ready, running):
        one.remove(gone)
    assert (len(one.waiting), len(one.ready), len(one.running)) == (0, 0, 0)
