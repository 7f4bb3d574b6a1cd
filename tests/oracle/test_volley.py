from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from pdtest.client.handoff import Handoff, Route
from pdtest.client.request import Request
from pdtest.oracle.evidence import Reading, Window, settled, total
from pdtest.oracle.volley import Volley, read_engines, settle, shares_of
from pdtest.wire.contract import Demand
from pdtest.wire.example import ExampleContract
from pdtest.wire.multi import MultiContract

from .fakes import (
    BLOCK,
    BLOCK_BYTES,
    NIXL,
    PROMPT,
    ROLES,
    ZERO,
    Counts,
    FakeEngine,
    Model,
    claim_of,
    decode_window,
    engines,
    handoff_of,
    moved,
)

REQUEST = Request.tokens(PROMPT, max_tokens=4)
EXACT = {"moved": 6, "cached": 0, "computed": 0, "bytes": 2 * BLOCK_BYTES}
EXAMPLE = ExampleContract()
BOTH = MultiContract(children=(NIXL, EXAMPLE))
STORE_FIRST = MultiContract(children=(EXAMPLE, NIXL))


async def settle_on(counts: Sequence[Counts], within_s: float = 0.2) -> tuple[Window, FakeEngine]:
    decode, prefill = FakeEngine(counts=counts), FakeEngine("prefill", counts=({},))
    before = Reading(metrics=decode_window(ZERO).after.metrics)
    return await settle(engines(prefill, decode), ROLES, before, claim_of(moved(6)), within_s), decode


async def test_counters_that_are_exact_at_once_take_two_readings_and_fifty_milliseconds() -> None:
    took = []
    for _ in range(3):  # the best of three: the machine may be busy
        started = time.monotonic()
        window, decode = await settle_on([EXACT])
        took.append(time.monotonic() - started)
        assert settled(window, claim_of(moved(6)))
        assert decode.readings == 2
    assert min(took) < 0.05


async def test_lagging_counters_are_waited_for() -> None:
    window, decode = await settle_on([ZERO, {**EXACT, "bytes": 0}, EXACT], within_s=5.0)
    assert settled(window, claim_of(moved(6)))
    assert decode.readings == 4


async def test_transfer_too_many_that_is_counted_late_does_not_slip_through() -> None:
    window, decode = await settle_on([EXACT, {**EXACT, "bytes": 3 * BLOCK_BYTES}], within_s=5.0)
    assert not settled(window, claim_of(moved(6)))
    # And it is known for good as soon as two readings agree.
    assert decode.readings == 3


async def test_too_much_is_not_waited_for() -> None:
    recomputed = {"moved": 0, "cached": 0, "computed": 6, "bytes": 0}
    started = time.monotonic()
    window, _ = await settle_on([recomputed], within_s=5.0)
    assert not settled(window, claim_of(moved(6)))
    assert time.monotonic() - started < 1.0


async def test_after_the_deadline_what_is_seen_is_what_counts() -> None:
    started = time.monotonic()
    window, _ = await settle_on([{**EXACT, "bytes": BLOCK_BYTES}], within_s=0.12)
    assert 0.12 <= time.monotonic() - started < 1.0
    assert not settled(window, claim_of(moved(6)))
    assert window.after.metrics["decode"].total("vllm:nixl_bytes_transferred_sum") == BLOCK_BYTES


async def test_counters_that_are_not_exported_are_not_waited_for() -> None:
    _, decode = await settle_on([{}], within_s=5.0)
    assert decode.readings == 2


async def test_engines_are_read_side_by_side() -> None:
    both = asyncio.Barrier(2)

    class Slow(FakeEngine):
        async def metrics(self, *names: str) -> Any:
            async with asyncio.timeout(1.0):
                await both.wait()
            return await super().metrics(*names)

    reading = await read_engines(engines(Slow("prefill"), Slow("decode", counts=[EXACT])))
    assert list(reading.metrics) == ["prefill", "decode"]
    assert reading.metrics["decode"].total("vllm:nixl_bytes_transferred_sum") == 2 * BLOCK_BYTES


# --- what a handoff demands ---


def demand(request: Request, contract: Any = NIXL, *, cached: int = 0, **settings: Any) -> Demand:
    return demand_of(handoff_of(request, Model().answer(request), **settings), contract, cached)


def demand_of(handoff: Handoff, contract: Any = NIXL, cached: int = 0) -> Demand:
    return total(
        [share.demand for share in shares_of(contract, handoff, cached_tokens=cached, block_size=BLOCK)]
    )


def numbers(seen: Demand) -> tuple[int, int, int, int]:
    return seen.transferred, seen.cached, seen.computed, seen.blocks


def test_the_whole_prompt_moves() -> None:
    assert numbers(demand(REQUEST)) == (6, 0, 0, 2)


def test_what_decode_has_does_not_move() -> None:
    assert numbers(demand(REQUEST, cached=4)) == (2, 4, 0, 1)


def test_each_choice_fetches_for_itself_or_finds_what_the_first_one_brought() -> None:
    request = replace(REQUEST, n=3)
    first, *further = shares_of(
        NIXL, handoff_of(request, Model().answer(request)), cached_tokens=0, block_size=BLOCK
    )
    assert (numbers(first.demand), first.instead) == ((6, 0, 0, 2), None)
    assert len(further) == 2
    for share in further:
        assert numbers(share.demand) == (6, 0, 0, 2)
        assert share.instead is not None
        assert numbers(share.instead.demand) == (2, 4, 0, 1)


def test_failed_handoffs_demand_nothing() -> None:
    assert numbers(demand_of(handoff_of(REQUEST, None))) == (0, 0, 0, 0)


@pytest.mark.parametrize("n", [1, 2])
def test_prompt_logprobs_are_computed_by_decode(n: int) -> None:
    asked = replace(REQUEST, prompt_logprobs=1, n=n)
    assert numbers(demand(asked, cached=4)) == (0, 0, 6 * n, 0)


def test_without_params_decode_computes() -> None:
    assert numbers(demand(REQUEST, params={})) == (0, 0, 6, 0)
    assert numbers(demand(REQUEST, params={}, cached=4)) == (0, 4, 2, 0)


def test_without_params_decode_finds_whole_blocks_but_never_the_last_token() -> None:
    request = Request.tokens(PROMPT[:4], max_tokens=2)
    assert numbers(demand(request, params={}, cached=4)) == (0, 0, 4, 0)


def test_contract_without_params_misses_none() -> None:
    assert numbers(demand(REQUEST, EXAMPLE, params={})) == (4, 0, 2, 1)


def test_behind_a_proxy_params_are_taken_for_granted() -> None:
    through = handoff_of(REQUEST, Model().answer(REQUEST))
    through = replace(through, route=Route.PROXY, decode=None, proxy=through.decode)
    assert numbers(demand_of(through)) == (6, 0, 0, 2)


# --- and of whom ---


def carrier(contract: Any, request: Request = REQUEST, **settings: Any) -> tuple[str, tuple[int, ...]]:
    handoff = handoff_of(request, Model().answer(request), **settings)
    (share,) = shares_of(contract, handoff, cached_tokens=0, block_size=BLOCK)
    return share.carrier.name, numbers(share.demand)


def test_the_first_connector_that_has_tokens_carries() -> None:
    assert carrier(NIXL) == ("nixl", (6, 0, 0, 2))
    assert carrier(BOTH) == ("nixl", (6, 0, 0, 2))
    assert carrier(STORE_FIRST) == ("example", (4, 0, 2, 1))
    # The store misses in silence, so NIXL loads.
    assert carrier(STORE_FIRST, Request.tokens(PROMPT[:5], max_tokens=1)) == ("nixl", (5, 0, 0, 2))


def test_without_params_only_a_store_can_load() -> None:
    assert carrier(BOTH, params={}) == ("example", (4, 0, 2, 1))


def test_prompt_logprobs_are_nobodys() -> None:
    assert carrier(BOTH, replace(REQUEST, prompt_logprobs=1))[1] == (0, 0, 6, 0)


def test_the_handoff_of_a_volley_of_one() -> None:
    handoff = handoff_of(REQUEST, Model().answer(REQUEST))
    window = decode_window(EXACT)
    volley = Volley(handoffs=(handoff,), window=window, claim=claim_of(moved(6)))
    assert volley.handoff is handoff
    with pytest.raises(ValueError, match="too many"):
        _ = replace(volley, handoffs=(handoff, handoff)).handoff
