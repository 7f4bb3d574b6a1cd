from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from pdtest.embedded.connectors.connector import LoadFailed
from pdtest.embedded.engine.core import Core
from pdtest.embedded.engine.sequence import Finish, Sequence

from .conftest import Start
from .connectors import Scripted
from .sequences import run, sequence, steps, text, tokens


class Pair:
    """A prefill engine that keeps its blocks, and a decode engine with a scripted connector."""

    def __init__(self, prefill: Core, decode: Core, holding: Scripted, loading: Scripted) -> None:
        self.prefill = prefill
        self.decode = decode
        self.holding = holding
        self.loading = loading

    async def handed_over(self, prompt: list[int], max_tokens: int = 6, **sampling: Any) -> Sequence:
        """A sequence for decode whose KV prefill has."""
        first = sequence(prompt, 1)
        await run(self.prefill, first)
        return sequence(prompt, max_tokens, params={"source_blocks": list(first.blocks)}, **sampling)

    def sources(self) -> tuple[int, int, int]:
        by = self.decode.statistics.by_source
        return by["external_kv_transfer"], by["local_cache_hit"], by["local_compute"]


@pytest.fixture
async def pair(start: Start) -> Pair:
    return await make_pair(start)


async def make_pair(start: Start, *, recompute: bool = False, **settings: Any) -> Pair:
    holding = Scripted(hold=True, promise=lambda *_: 0)
    prefill = await start(prepare=holding.install, blocks=128)
    loading = Scripted(source=prefill)
    policy = {"kv_load_failure_policy": "recompute"} if recompute else {}

    def prepare(core: Core) -> None:
        loading.install(core)
        core._recompute = bool(policy)

    decode = await start(prepare=prepare, **settings)
    return Pair(prefill, decode, holding, loading)


@pytest.mark.parametrize("length", [2, 3, 4, 5, 8, 17])
async def test_kv_that_was_brought_gives_the_same_answer(pair: Pair, length: int) -> None:
    one = await pair.handed_over(text(length))
    answer = [step.token for (step) in (await run(pair.decode, one))[0]]
    assert answer == await tokens(pair.prefill, text(length))
    assert pair.sources() == (length, 0, 0)
    assert (one.cached, one.transferred) == (0, length)
    assert pair.decode.statistics.external_queries == length
    assert pair.decode.statistics.external_hits == length
    assert pair.decode.rank.blocks.used == 0


async def test_a_wrong_number_gives_another_answer(pair: Pair) -> None:
    one = await pair.handed_over(text(17), 12)
    right = await tokens(pair.prefill, text(17), 12)
    blocks = (one.kv_transfer_params or {})["source_blocks"]
    pair.prefill.rank.memories[0].kv[0, 1, blocks[1], 2, 0, 3] += 8
    answer = [step.token for step in (await run(pair.decode, one))[0]]
    assert answer != right


async def test_a_prompt_of_one_token_is_fetched_and_counts_as_computed(pair: Pair) -> None:
    one = await pair.handed_over(text(1))
    await run(pair.decode, one)
    assert pair.loading.of("load") == [("load", one.id, 0, 1)]
    assert pair.sources() == (0, 0, 1)


async def test_what_is_cached_is_not_brought(pair: Pair) -> None:
    await run(pair.decode, await pair.handed_over(text(17)))
    one = await pair.handed_over(text(17))
    await run(pair.decode, one)
    assert pair.loading.of("load")[-1] == ("load", one.id, 16, 1)
    assert pair.sources() == (18, 16, 0)
    # A prompt of whole blocks fetches its last block again.
    again = await pair.handed_over(text(16))
    await run(pair.decode, again)
    assert pair.loading.of("load")[-1] == ("load", again.id, 12, 4)


async def test_what_is_not_promised_is_computed(pair: Pair) -> None:
    pair.loading.promise = lambda prompt, cached: prompt - 1 - cached
    await run(pair.decode, await pair.handed_over(text(17)))
    assert pair.sources() == (16, 0, 1)
    pair.loading.promise = lambda *_: 0
    await run(pair.decode, sequence(text(9, 3)))
    assert pair.sources() == (16, 0, 10)
    assert len(pair.loading.of("load")) == 1


async def test_prompt_logprobs_are_computed_here(pair: Pair) -> None:
    one = await pair.handed_over(text(9), prompt_logprobs=0)
    await run(pair.decode, one)
    assert pair.loading.of("match") == []
    assert pair.sources() == (0, 0, 9)
    assert pair.decode.statistics.external_queries == 0


async def test_all_choices_are_announced_before_any_is_matched(pair: Pair) -> None:
    them = [await pair.handed_over(text(9), id=f"cmpl-r-{choice}") for choice in range(3)]
    await run(pair.decode, *them)
    kinds = [call[0] for call in pair.loading.calls if call[0] in {"queued", "match"}]
    assert kinds[:3] == ["queued"] * 3
    assert kinds.count("match") == 3


async def test_others_go_on_while_kv_is_on_its_way(pair: Pair) -> None:
    pair.loading.gate.clear()
    one = await pair.handed_over(text(9))
    pair.decode.submit(one)
    other = sequence(text(5, 1), 5, prompt_logprobs=0)
    await run(pair.decode, other)
    gauges = pair.decode.statistics.gauges()
    assert (gauges.waiting, gauges.loading, gauges.running) == (1, 1, 0)
    assert pair.decode.rank.blocks.used == 3
    assert one.steps.empty()
    pair.loading.gate.set()
    assert len(await steps(one)) == 6


async def test_kv_is_in_the_prefix_cache_only_once_it_arrived(pair: Pair) -> None:
    pair.loading.gate.clear()
    them = [await pair.handed_over(text(17)) for _ in range(2)]
    for one in them:
        pair.decode.submit(one)
    await asyncio.sleep(0.02)
    assert [one.cached for one in them] == [0, 0]
    pair.loading.gate.set()
    await asyncio.gather(*(steps(one) for one in them))
    assert pair.sources() == (34, 0, 0)


class TestAbort:
    async def test_while_loading_frees_blocks_only_when_the_load_is_through(self, pair: Pair) -> None:
        pair.loading.gate.clear()
        pair.loading.winding_down_s = 0.05
        one = await pair.handed_over(text(9))
        pair.decode.submit(one)
        await asyncio.sleep(0.01)
        pair.decode.abort(one)
        pair.decode.abort(one)
        await asyncio.sleep(0.01)
        assert pair.decode.rank.blocks.used == 3
        assert one.steps.empty()
        (end,) = await steps(one)
        assert end.finish is Finish.ABORT
        assert pair.decode.rank.blocks.used == 0
        assert [call[0] for call in pair.loading.calls[-2:]] == ["cancelled", "finished"]

    async def test_before_the_load_began(self, pair: Pair) -> None:
        one = await pair.handed_over(text(9))
        pair.decode.submit(one)
        await asyncio.sleep(0)
        pair.decode.abort(one)
        assert (await steps(one))[-1].finish is Finish.ABORT
        assert len(pair.loading.of("finished")) == 1
        assert pair.decode.rank.blocks.used == 0

    async def test_while_it_waits_is_told_to_the_connector(self, pair: Pair) -> None:
        one = await pair.handed_over(text(9))
        pair.decode.submit(one)
        pair.decode.abort(one)
        assert pair.loading.of("finished") == [("finished", one.id, Finish.ABORT, 0)]
        assert pair.loading.of("match") == []

    async def test_when_the_engine_closes(self, start: Start) -> None:
        pair = await make_pair(start)
        pair.loading.gate.clear()
        one = await pair.handed_over(text(9))
        pair.decode.submit(one)
        await asyncio.sleep(0.01)
        await pair.decode.close()
        assert (await steps(one))[-1].finish is Finish.ABORT
        assert [call[0] for call in pair.loading.calls[-2:]] == ["finished", "close"]


class TestFailure:
    async def test_policy_fail_ends_the_request(self, pair: Pair) -> None:
        pair.loading.failure = LoadFailed("the peer is gone")
        one = await pair.handed_over(text(9))
        (seen,) = await run(pair.decode, one)
        assert [(step.finish, step.status) for step in seen] == [(Finish.ERROR, 500)]
        assert "the peer is gone" in str(seen[0].error)
        assert pair.decode.rank.blocks.used == 0
        assert pair.sources() == (0, 0, 0)
        assert pair.decode.statistics.external_hits == 9
        assert pair.decode.statistics.finished["error"] == 1
        # Nothing of it is in the prefix cache.
        pair.loading.failure = None
        again = await pair.handed_over(text(9))
        await run(pair.decode, again)
        assert again.cached == 0

    @pytest.mark.parametrize(("arrives", "sources"), [(None, (0, 0, 17)), (8, (8, 0, 9)), (3, (3, 0, 14))])
    async def test_policy_recompute_goes_on_from_what_arrived(
        self, start: Start, arrives: int | None, sources: tuple[int, int, int]
    ) -> None:
        pair = await make_pair(start, recompute=True)
        pair.loading.failure, pair.loading.arrives = LoadFailed("half of it"), arrives
        one = await pair.handed_over(text(17))
        answer = [step.token for step in (await run(pair.decode, one))[0]]
        assert answer == await tokens(pair.prefill, text(17))
        assert pair.sources() == sources

    async def test_parameters_that_make_no_sense_are_the_clients_fault(self, pair: Pair) -> None:
        pair.loading.failure = ValueError("remote_block_ids is no list")
        (seen,) = await run(pair.decode, await pair.handed_over(text(9)))
        assert [(step.finish, step.status, step.error) for step in seen] == [
            (Finish.ERROR, 400, "remote_block_ids is no list")
        ]

    async def test_a_bug_in_the_connector_is_logged(
        self, pair: Pair, caplog: pytest.LogCaptureFixture
    ) -> None:
        pair.loading.failure = ZeroDivisionError("bug")
        (seen,) = await run(pair.decode, await pair.handed_over(text(9)))
        assert (seen[0].finish, seen[0].status) == (Finish.ERROR, 500)
        assert [record.levelno for record in caplog.records] == [logging.ERROR]


class TestHandover:
    async def test_held_blocks_stay_until_they_are_released(self, pair: Pair) -> None:
        pair.holding.params = {"remote_engine_id": "x"}
        one = sequence(text(9), 1)
        await run(pair.prefill, one)
        assert one.handover == {"remote_engine_id": "x"}
        assert pair.prefill.rank.blocks.used == 3
        assert pair.prefill.kv_tokens == 9
        assert not pair.prefill.reset_prefix_cache()
        pair.prefill.rank.release("unknown")
        pair.prefill.rank.release(one.id)
        pair.prefill.rank.release(one.id)
        assert pair.prefill.rank.blocks.used == 0

    async def test_who_waits_for_held_blocks_gets_them(self, start: Start) -> None:
        holding = Scripted(hold=True, promise=lambda *_: 0)
        core = await start(prepare=holding.install, blocks=4)
        first, second = sequence(text(12), 1), sequence(text(12, 1), 1)
        await run(core, first)
        holding.hold = False
        core.submit(second)
        await asyncio.sleep(0.02)
        assert second.steps.empty()
        core.rank.release(first.id)
        assert (await steps(second))[-1].finish is Finish.LENGTH

    async def test_the_finish_is_known_and_the_answer_comes_after(self, pair: Pair) -> None:
        one = sequence(text(9), 2)
        await run(pair.prefill, one)
        assert pair.holding.of("finished") == [("finished", one.id, Finish.LENGTH, 10)]

    async def test_a_connector_that_fails_at_the_end_holds_nothing(
        self, start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        holding = Scripted(hold=True, promise=lambda *_: 0)
        core = await start(prepare=holding.install)
        monkeypatch.setattr(holding, "finished", lambda _: 1 / 0)
        assert len(await tokens(core, text(9), 2)) == 2
        assert core.rank.blocks.used == 0
        assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_layers_are_announced_for_prompt_tokens_only(start: Start) -> None:
    scripted = Scripted(promise=lambda *_: 0)
    core = await start(prepare=scripted.install, max_num_batched_tokens=6)
    one = sequence(text(9), 4)
    await run(core, one)
    assert scripted.computed == [
        (one.id, layer, start_, end) for start_, end in ((0, 6), (6, 9)) for layer in range(2)
    ]


async def test_a_preempted_sequence_does_not_ask_again(start: Start) -> None:
    pair = await make_pair(start, blocks=12)
    them = [await pair.handed_over(text(6 + number, number), 25) for number in range(4)]
    answers = [[step.token for step in seen] for seen in await run(pair.decode, *them)]
    assert pair.decode.statistics.gauges().preemptions > 0
    assert len(pair.loading.of("match")) == 4
    assert pair.sources() == (6 + 7 + 8 + 9, 0, 0)
    assert answers == [await tokens(pair.prefill, text(6 + number, number), 25) for number in range(4)]


async def test_the_host_tells_connectors_where_they_are(start: Start) -> None:
    core = await start(tensor_ranks=2, data_ranks=2, side_port=7000, side_host="10.0.0.1", transfer_time=0.5)
    rank = core.rank
    assert list(rank.side_ports) == [7000, 7001]
    assert rank.announced_port == 7000
    assert (rank.address, rank.http_port, rank.transfer_delay_s) == ("10.0.0.1", 8000, 0.5)
    assert rank.labels == {"model_name": "small", "engine": "0"}
    assert rank.engine_id.endswith("_dp0")


async def test_an_answer_ends_when_the_connector_has_saved_what_it_is_about(start: Start) -> None:
    scripted = Scripted(promise=lambda *_: 0, saved=asyncio.Event())
    core = await start(prepare=scripted.install)
    one, other = sequence(text(9), 2), sequence(text(9, 1), 50)
    core.submit(one)
    first = await asyncio.wait_for(one.steps.get(), 20)
    assert first.finish is None
    # The engine goes on meanwhile, and the blocks are free.
    core.submit(other)
    for _ in range(5):
        await asyncio.wait_for(other.steps.get(), 20)
    assert one.finish is Finish.LENGTH
    assert one.steps.empty()
    core.abort(other)
    assert scripted.saved is not None
    scripted.saved.set()
    assert (await asyncio.wait_for(one.steps.get(), 20)).finish is Finish.LENGTH


async def test_an_aborted_answer_waits_for_nothing(start: Start) -> None:
    scripted = Scripted(promise=lambda *_: 0, saved=asyncio.Event())
    core = await start(prepare=scripted.install)
    one = sequence(text(9), 50)
    core.submit(one)
    await asyncio.wait_for(one.steps.get(), 20)
    core.abort(one)
    while (await asyncio.wait_for(one.steps.get(), 20)).finish is None:
        pass
    assert one.finish is Finish.ABORT
    await core.close()
    assert not core._answering
