from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from pdtest.embedded.engine.cores import Cores

from .conftest import CONFIG, SETTINGS
from .sequences import run, sequence, steps, text, tokens


def cores(**changes: int) -> Cores:
    return Cores(replace(SETTINGS, **changes), CONFIG)  # type: ignore[arg-type]


def test_a_rank_can_be_asked_for() -> None:
    both = cores(data_ranks=2)
    zero, one = both
    assert both.choose(0) is zero
    assert both.choose(1) is one
    for unknown in (-1, 2):
        with pytest.raises(ValueError, match=r"out of range \[0, 2\)"):
            both.choose(unknown)


async def test_else_the_one_with_the_least_kv_is_taken() -> None:
    both = cores(data_ranks=2)
    zero, one = both
    assert both.choose(None) is zero
    zero.submit(sequence(text(9)))
    assert both.choose(None) is one
    one.submit(sequence(text(12)))
    assert both.choose(None) is zero


async def test_ranks_have_kv_and_statistics_of_their_own() -> None:
    both = cores(data_ranks=2)
    zero, one = both
    await both.start()
    first, second = await asyncio.gather(tokens(zero, text(9)), tokens(one, text(9)))
    assert first == second
    await run(one, sequence(text(9)))
    assert (zero.statistics.hits, one.statistics.hits) == (0, 8)
    assert zero.rank.engine_id != one.rank.engine_id
    assert [list(core.rank.side_ports) for core in both] == [[5600], [5601]]
    assert [core.rank.announced_port for core in both] == [5600, 5601]
    await both.close()


async def test_all_are_aborted_at_once() -> None:
    both = cores(data_ranks=2)
    await both.start()
    them = [sequence(text(9), 200) for _ in both]
    for core, one in zip(both, them, strict=True):
        core.submit(one)
    await them[1].steps.get()
    both.abort_all()
    assert [(await steps(one))[-1].finish for one in them] == ["abort", "abort"]
    await both.close()


def test_heads_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="2 KV heads cannot be dealt out to 3"):
        cores(tensor_ranks=3)
