"""Answers depend on the request alone: not on company, order, chunks, prefix hits, ranks or preemption."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from pdtest.embedded.engine.core import Core
from pdtest.embedded.engine.cores import Cores
from pdtest.embedded.engine.sequence import Finish, Sequence, Step

from .conftest import CONFIG, SETTINGS
from .sequences import sequence, steps, text

#: Prompts share beginnings, so that there are prefix hits.
BEGINNINGS = [text(40), [*text(11), *text(40, 1)], text(40, 2)]


@dataclass(frozen=True)
class Request:
    beginning: int
    length: int
    own: int
    max_tokens: int
    temperature: float
    prompt_logprobs: int | None
    #: Steps of the event loop until it is sent.
    delay: int
    #: Tokens after which the client goes away.
    patience: int | None

    def sequence(self, number: int) -> Sequence:
        prompt = [*BEGINNINGS[self.beginning][: self.length], *text(self.own, 3 + self.beginning)]
        return sequence(
            prompt,
            self.max_tokens,
            id=f"cmpl-{number}-0",
            temperature=self.temperature,
            seed=number,
            logprobs=2,
            prompt_logprobs=self.prompt_logprobs,
        )


requests = st.builds(
    Request,
    beginning=st.integers(0, 2),
    length=st.integers(1, 40),
    own=st.sampled_from([0, 1, 5, 30]),
    max_tokens=st.sampled_from([1, 2, 12, 40]),
    temperature=st.sampled_from([0.0, 0.0, 1.0]),
    prompt_logprobs=st.sampled_from([None, None, None, 0, 2]),
    delay=st.sampled_from([0, 0, 1, 5, 30]),
    patience=st.sampled_from([None, None, None, 1, 3]),
)


async def alone(core: Core, request: Request, number: int) -> tuple[list[Step], Sequence]:
    one = request.sequence(number)
    core.submit(one)
    return await steps(one), one


async def in_company(core: Core, request: Request, number: int) -> tuple[list[Step], Sequence]:
    for _ in range(request.delay):
        await asyncio.sleep(0)
    one = request.sequence(number)
    core.submit(one)
    seen: list[Step] = []
    while not seen or seen[-1].finish is None:
        seen.append(await asyncio.wait_for(one.steps.get(), 20))
        if len(seen) == request.patience:
            core.abort(one)
    return seen, one


async def compared(them: list[Request], changes: dict[str, int | bool]) -> None:
    plain = Cores(replace(SETTINGS, prefix_caching=False), CONFIG)
    crowded = Cores(replace(SETTINGS, **changes), CONFIG)  # type: ignore[arg-type]
    await plain.start()
    await crowded.start()
    try:
        core = crowded.choose(0)
        seen = await asyncio.gather(*(in_company(core, one, number) for number, one in enumerate(them)))
        for number, (request, (got, one)) in enumerate(zip(them, seen, strict=True)):
            expected, reference = await alone(plain.choose(0), request, number)
            if got[-1].finish is Finish.ABORT:
                assert got[:-1] == expected[: len(got) - 1]
            else:
                assert got == expected
                assert one.prompt_logprobs == reference.prompt_logprobs
        assert core.rank.blocks.used == 0
        assert core.kv_tokens == 0
        if core.statistics.gauges().preemptions:
            event("preemption")
        if core.statistics.hits:
            event("prefix hit")
    finally:
        await plain.close()
        await crowded.close()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(requests, min_size=1, max_size=12),
    st.fixed_dictionaries(
        {
            "block_size": st.sampled_from([1, 3, 4, 16]),
            "max_num_batched_tokens": st.sampled_from([1, 5, 40, 256]),
            "max_num_seqs": st.sampled_from([1, 4, 16, 16]),
            "tensor_ranks": st.sampled_from([1, 2]),
            "prefix_caching": st.booleans(),
        }
    ),
    st.integers(0, 30),
)
def test_answers_are_bit_equal_to_those_of_each_request_alone(
    them: list[Request], changes: dict[str, int | bool], spare: int
) -> None:
    # Room for the longest and little more, so that some are preempted.
    longest = max(one.length + one.own + one.max_tokens for one in them)
    blocks = -(-longest // changes["block_size"]) + spare // changes["block_size"]
    asyncio.run(compared(them, {**changes, "blocks": blocks}))
