from __future__ import annotations

import asyncio
import logging
from typing import Any

import numpy as np
import pytest

from pdtest.embedded.engine.core import Core
from pdtest.embedded.engine.sequence import Finish
from pdtest.embedded.model.memory import KVMemory, heads_of_rank
from pdtest.embedded.model.transformer import Span, Transformer
from pdtest.embedded.model.weights import Weights

from .conftest import CONFIG, Start
from .sequences import run, sequence, steps, text, tokens


def expected(prompt: list[int], count: int) -> list[int]:
    """The greedy answer, computed anew for each token."""
    memory = KVMemory.empty(
        layers=CONFIG.layers,
        blocks=1,
        block_size=128,
        heads=heads_of_rank(CONFIG.kv_heads, 1, 0),
        head_dim=CONFIG.head_dim,
    )
    transformer = Transformer(CONFIG, Weights.random(CONFIG), [memory])
    answer: list[int] = []
    for _ in range(count):
        (logits,) = transformer.forward([Span([*prompt, *answer], 0, [0])])
        answer.append(int(logits[-1].argmax()))
    return answer


def at_rest(core: Core) -> bool:
    return core.rank.blocks.used == 0 and core.kv_tokens == 0


@pytest.mark.parametrize("length", [1, 3, 4, 5, 40])
async def test_the_answer_is_that_of_the_model(start: Start, length: int) -> None:
    core = await start()
    assert await tokens(core, text(length), 8) == expected(text(length), 8)
    assert at_rest(core)


async def test_company_does_not_change_an_answer(start: Start) -> None:
    core = await start(max_num_seqs=4)
    prompts = [text(3 + 5 * number, number) for number in range(12)]
    answers = await asyncio.gather(*(tokens(core, prompt, 9) for prompt in prompts))
    assert answers == [expected(prompt, 9) for prompt in prompts]


async def test_log_probabilities_are_reported_with_each_token(start: Start) -> None:
    core = await start()
    (seen,) = await run(core, sequence(text(6), 3, logprobs=2))
    for step in seen:
        assert step.chosen is not None
        assert step.chosen.token == step.token
        assert step.candidates[0] == step.chosen
        assert len(step.candidates) == 2
    (plain,) = await run(core, sequence(text(6), 3))
    assert [step.token for step in plain] == [step.token for step in seen]
    assert {(step.chosen, step.candidates) for step in plain} == {(None, ())}


async def test_log_probabilities_of_the_prompt(start: Start) -> None:
    core = await start(max_num_batched_tokens=7)
    prompt = text(20)
    await tokens(core, prompt)  # the prefix cache must not be used
    one = sequence(prompt, 2, prompt_logprobs=1)
    await run(core, one)
    assert one.cached == 0
    assert one.prompt_logprobs[0] is None
    assert [entry[0].token for entry in one.prompt_logprobs if entry] == prompt[1:]
    # The last one of them is what a shorter prompt says about its first token.
    (seen,) = await run(core, sequence(prompt[:-1], 1, logprobs=-1))
    last = one.prompt_logprobs[-1]
    assert last is not None
    assert {prompt[-1]: last[0].logprob}.items() <= {
        one.token: one.logprob for one in seen[0].candidates
    }.items()
    assert last[1] == seen[0].candidates[0]


class TestEnds:
    async def test_max_tokens(self, start: Start) -> None:
        core = await start()
        (seen,) = await run(core, sequence(text(5), 3))
        assert len(seen) == 3
        assert (seen[-1].finish, seen[-1].stop_reason) == (Finish.LENGTH, None)

    async def test_max_model_len(self, start: Start) -> None:
        core = await start(max_model_len=8)
        (seen,) = await run(core, sequence(text(5), 100))
        assert len(seen) == 3
        assert seen[-1].finish is Finish.LENGTH

    async def test_eos(self, start: Start) -> None:
        core = await start()
        (seen,) = await run(core, sequence(text(5), 9, logit_bias={0: 100.0}))
        assert [(step.token, step.finish, step.stop_reason) for step in seen] == [(0, Finish.STOP, None)]

    async def test_eos_that_is_ignored(self, start: Start) -> None:
        core = await start()
        (seen,) = await run(core, sequence(text(5), 3, ignore_eos=True, logit_bias={0: 100.0}))
        assert [step.token for step in seen] == [0, 0, 0]
        assert seen[-1].finish is Finish.LENGTH

    async def test_a_stop_token(self, start: Start) -> None:
        core = await start()
        answer = expected(text(5), 9)
        stop = answer[-1]
        (seen,) = await run(core, sequence(text(5), 20, stop_token_ids=frozenset({stop})))
        assert len(seen) == answer.index(stop) + 1
        assert (seen[-1].token, seen[-1].finish, seen[-1].stop_reason) == (stop, Finish.STOP, stop)

    async def test_min_tokens(self, start: Start) -> None:
        core = await start()
        (seen,) = await run(core, sequence(text(5), 9, min_tokens=4, logit_bias={0: 100.0}))
        assert len(seen) == 5
        assert seen[-1].token == 0

    async def test_what_can_never_fit(self, start: Start) -> None:
        core = await start(blocks=4)
        for prompt, max_tokens in ((16, 2), (17, 1), (2, 16)):
            (seen,) = await run(core, sequence(text(prompt), max_tokens))
            assert (seen[0].finish, seen[0].status) == (Finish.ERROR, 400)
            assert "needs up to 5 KV blocks of 4 tokens, there are 4" in str(seen[0].error)
        assert len(await tokens(core, text(16), 1)) == 1
        assert len(await tokens(core, text(2, 1), 15)) == 15
        assert at_rest(core)


class TestAbort:
    async def test_while_it_waits(self, start: Start) -> None:
        core = await start(max_num_seqs=1)
        first, second = sequence(text(5), 40), sequence(text(5, 1), 40)
        core.submit(first)
        core.submit(second)
        core.abort(second)
        (end,) = await steps(second)
        assert (end.finish, end.token) == (Finish.ABORT, None)
        assert (await steps(first))[-1].finish is Finish.LENGTH
        assert at_rest(core)

    async def test_while_it_runs_and_more_than_once(self, start: Start) -> None:
        core = await start()
        one, other = sequence(text(5), 200), sequence(text(5, 1), 20)
        core.submit(one)
        core.submit(other)
        await one.steps.get()
        core.abort(one)
        core.abort(one)
        assert (await steps(one))[-1].finish is Finish.ABORT
        core.abort(one)
        assert one.steps.empty()
        answer = [step.token for step in await steps(other)]
        assert answer == expected(text(5, 1), 20)
        assert at_rest(core)

    async def test_in_the_middle_of_a_slow_step(self, start: Start) -> None:
        core = await start(decode_time=0.05)
        one = sequence(text(5), 200)
        core.submit(one)
        await one.steps.get()
        await asyncio.sleep(0.02)
        core.abort(one)
        assert at_rest(core)
        (end,) = await steps(one)
        assert end.finish is Finish.ABORT
        await asyncio.sleep(0.1)
        assert one.steps.empty()

    async def test_because_of_a_stop_string(self, start: Start) -> None:
        core = await start()
        one = sequence(text(5), 200)
        core.submit(one)
        await one.steps.get()
        core.abort(one, Finish.STOP)
        assert (await steps(one))[-1].finish is Finish.STOP
        assert core.statistics.finished["stop"] == 1

    async def test_all_at_the_end(self, start: Start) -> None:
        core = await start()
        them = [sequence(text(5, number), 200) for number in range(3)]
        for one in them:
            core.submit(one)
        await them[0].steps.get()
        core.abort_all()
        for one in them:
            assert (await steps(one))[-1].finish is Finish.ABORT
        assert at_rest(core)


class TestPrefixCache:
    async def test_counts_what_it_had(self, start: Start) -> None:
        core = await start()
        first, second = sequence(text(14)), sequence([*text(13), 77, 78, 79])
        await run(core, first)
        await run(core, second)
        assert (first.cached, second.cached) == (0, 12)
        assert (core.statistics.queries, core.statistics.hits) == (30, 12)
        assert core.statistics.by_source == {
            "local_compute": 18,
            "local_cache_hit": 12,
            "external_kv_transfer": 0,
        }

    async def test_gives_the_same_answer(self, start: Start) -> None:
        core = await start()
        first = await tokens(core, text(16))
        assert await tokens(core, text(16)) == first
        assert core.statistics.hits == 12

    async def test_is_not_used_when_it_is_off(self, start: Start) -> None:
        core = await start(prefix_caching=False)
        for _ in range(2):
            await tokens(core, text(16))
        assert (core.statistics.queries, core.statistics.hits) == (0, 0)

    async def test_is_reset_only_at_rest(self, start: Start) -> None:
        core = await start()
        one = sequence(text(16), 200)
        core.submit(one)
        await one.steps.get()
        assert not core.reset_prefix_cache()
        core.abort(one)
        assert core.reset_prefix_cache()
        await tokens(core, text(16))
        assert core.statistics.hits == 0


async def test_preemption_changes_no_answer(start: Start) -> None:
    core = await start(blocks=12)
    prompts = [text(6 + number, number) for number in range(4)]
    answers = await asyncio.gather(*(tokens(core, prompt, 25) for prompt in prompts))
    assert answers == [expected(prompt, 25) for prompt in prompts]
    assert core.statistics.gauges().preemptions > 0
    assert at_rest(core)


async def test_a_preempted_prompt_reports_and_counts_once(start: Start) -> None:
    core = await start(blocks=10)
    first, second = sequence(text(6), 25, prompt_logprobs=1), sequence(text(7, 1), 25, prompt_logprobs=1)
    await run(core, first, second)
    assert core.statistics.gauges().preemptions > 0
    assert [len(one.prompt_logprobs) for one in (first, second)] == [6, 7]
    assert core.statistics.prompt_tokens == 13
    assert core.statistics.generation_tokens == 50


async def test_tensor_parallel_ranks_change_no_answer(start: Start) -> None:
    core = await start(tensor_ranks=2)
    assert [memory.heads.count for memory in core.rank.memories] == [1, 1]
    assert await tokens(core, text(30), 9) == expected(text(30), 9)


async def test_an_idle_engine_does_not_spin(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = 0

    def counted(self: Any) -> None:
        nonlocal looked
        looked += 1

    core = await start()
    await tokens(core, text(5))
    await asyncio.sleep(0.01)
    monkeypatch.setattr(Core, "_admit", counted)
    await asyncio.sleep(0.05)
    assert looked == 0


async def test_a_step_that_fails_ends_its_sequences_and_no_others(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    core = await start()

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(Transformer, "forward", broken)
        (seen,) = await run(core, sequence(text(5)))
    assert (seen[0].finish, seen[0].status) == (Finish.ERROR, 500)
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert len(await tokens(core, text(5), 3)) == 3
    assert at_rest(core)


async def test_slow_variants_take_their_time(start: Start) -> None:
    loop = asyncio.get_running_loop()
    core = await start(prefill_time=0.1, decode_time=0.02)
    began = loop.time()
    one = sequence(text(5), 6)
    core.submit(one)
    await one.steps.get()
    assert loop.time() - began >= 0.1
    await steps(one)
    assert loop.time() - began >= 0.1 + 5 * 0.02


async def test_short_prompts_need_not_be_slow(start: Start) -> None:
    core = await start(prefill_time=30.0, prefill_time_from=10)
    async with asyncio.timeout(10):
        assert len(await tokens(core, text(9), 2)) == 2
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await tokens(core, text(10, 1), 2)


async def test_gauges_tell_the_state(start: Start) -> None:
    core = await start(max_num_seqs=1, decode_time=0.05)
    first, second = sequence(text(9), 200), sequence(text(9, 1), 200)
    core.submit(first)
    core.submit(second)
    await first.steps.get()
    gauges = core.statistics.gauges()
    assert (gauges.running, gauges.waiting) == (1, 1)
    assert gauges.usage == 3 / 64
    assert gauges.kv_tokens == core.kv_tokens == 9
    assert core.expected_kv_tokens == 19
    core.abort_all()
    gauges = core.statistics.gauges()
    assert (gauges.running, gauges.waiting, gauges.usage, gauges.kv_tokens) == (0, 0, 0, 0)


async def test_logprobs_are_those_of_the_bare_logits(start: Start) -> None:
    core = await start()
    (plain,) = await run(core, sequence(text(5), 1, logprobs=-1))
    (biased,) = await run(core, sequence(text(5), 1, logprobs=-1, logit_bias={9: 100.0}, temperature=0.5))
    assert biased[0].token == 9
    assert biased[0].candidates == plain[0].candidates
    total = sum(float(np.exp(one.logprob)) for one in plain[0].candidates)
    assert total == pytest.approx(1)
