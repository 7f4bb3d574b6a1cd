from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

import pytest

from pdtest.client.answer import Answer
from pdtest.client.errors import HttpStatusError
from pdtest.client.request import Request
from pdtest.oracle.errors import ReferenceMissing
from pdtest.oracle.oracle import Oracle
from pdtest.oracle.parity import Tolerance
from pdtest.oracle.reference import BorrowedReference, CachedReference, MemberReference
from pdtest.oracle.verdict import Ruling
from pdtest.oracle.volley import Volley

from .fakes import (
    BLOCK,
    BLOCK_BYTES,
    PROMPT,
    FakeEngine,
    FakeReference,
    Model,
    claim_of,
    decode_window,
    failed,
    handoff_of,
    moved,
)

REQUEST = Request.tokens(PROMPT, max_tokens=4)
OTHER = Request.tokens((1, 2, 3), max_tokens=4)


async def test_a_member_is_asked_plainly_and_never_streamed() -> None:
    engine = FakeEngine()
    await MemberReference(engine.endpoint).answer(replace(REQUEST, stream=True))
    assert engine.log == [(REQUEST, {})]


# --- cached ---


@dataclass
class Slow(FakeReference):
    """Lets others run before it answers."""

    async def answer(self, request: Request) -> Answer:
        self.asked.append(request)
        await asyncio.sleep(0.01)
        if (failure := self.fails(request)) is not None:
            raise failure
        return self.model.answer(request)


async def test_a_request_is_asked_once_whether_streamed_or_not() -> None:
    slow = Slow()
    cached = CachedReference(slow, {})
    first = await cached.answer(REQUEST)
    assert await cached.answer(replace(REQUEST, stream=True)) is first
    await cached.answer(OTHER)
    assert slow.asked == [REQUEST, OTHER]


async def test_a_request_is_asked_once_by_many_at_the_same_time() -> None:
    slow = Slow()
    cached = CachedReference(slow, {})
    answers = await asyncio.gather(*(cached.answer(request) for request in [REQUEST, OTHER] * 4))
    assert len(slow.asked) == 2
    assert answers[0] is answers[2]


async def test_different_requests_do_not_wait_for_each_other() -> None:
    both = asyncio.Barrier(2)

    class Meeting(FakeReference):
        async def answer(self, request: Request) -> Answer:
            async with asyncio.timeout(1.0):
                await both.wait()
            return await super().answer(request)

    cached = CachedReference(Meeting(), {})
    one, other = await asyncio.gather(cached.answer(REQUEST), cached.answer(OTHER))
    assert one is not other


async def test_a_failure_is_not_kept() -> None:
    failures = [failed(), None]
    slow = Slow(fails=lambda _: failures.pop(0))
    cached = CachedReference(slow, {})
    with pytest.raises(HttpStatusError):
        await cached.answer(REQUEST)
    assert (await cached.answer(REQUEST)).token_ids


async def test_who_gives_up_waiting_does_not_take_the_answer_from_others() -> None:
    slow = Slow()
    cached = CachedReference(slow, {})
    first, second = (asyncio.create_task(cached.answer(REQUEST)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).token_ids
    assert first.cancelled()


def test_answers_are_shared_between_event_loops() -> None:
    answers: dict[str, Answer] = {}
    slow = Slow()
    first = asyncio.run(CachedReference(slow, answers).answer(REQUEST))
    assert asyncio.run(CachedReference(slow, answers).answer(REQUEST)) is first
    assert len(slow.asked) == 1


# --- borrowed ---


async def test_a_borrowed_members_cache_is_emptied_before_and_after() -> None:
    engine = FakeEngine()
    await BorrowedReference(engine.endpoint).answer(replace(REQUEST, stream=True))
    assert engine.log == ["empty", (REQUEST, {}), "empty"]


async def test_a_borrowed_member_serves_one_at_a_time() -> None:
    class Slowly(FakeEngine):
        async def generate(self, request: Request, **sent: object) -> Answer:
            answer = await super().generate(request, **sent)
            await asyncio.sleep(0.01)
            return answer

    engine = Slowly()
    borrowed = BorrowedReference(engine.endpoint)
    await asyncio.gather(borrowed.answer(REQUEST), borrowed.answer(OTHER))
    assert engine.log == ["empty", (REQUEST, {}), "empty", "empty", (OTHER, {}), "empty"]


@pytest.mark.parametrize(("empties", "steps"), [([False], 1), ([True, False], 3)])
async def test_a_cache_that_cannot_be_emptied_gives_no_reference(empties: list[bool], steps: int) -> None:
    engine = FakeEngine(empties=empties)
    with pytest.raises(ReferenceMissing, match="'decode' cannot be borrowed") as caught:
        await BorrowedReference(engine.endpoint).answer(REQUEST)
    assert "VLLM_SERVER_DEV_MODE=1" in str(caught.value)
    assert len(engine.log) == steps


@pytest.mark.parametrize("empties", [[], [True, False]])
async def test_the_cache_is_emptied_although_the_member_failed(empties: list[bool]) -> None:
    engine = FakeEngine(fails=lambda _: failed(), empties=empties)
    with pytest.raises(HttpStatusError):
        await BorrowedReference(engine.endpoint).answer(REQUEST)
    assert [step for step in engine.log if step == "empty"] == ["empty"] * 2


async def test_without_a_reference_the_verdict_is_inconclusive() -> None:
    oracle = Oracle(
        reference=CachedReference(BorrowedReference(FakeEngine(empties=[False]).endpoint), {}),
        tolerance=Tolerance(logprob=1e-4),
        block_size=BLOCK,
    )
    counts = {"moved": 6, "cached": 0, "computed": 0, "bytes": 2 * BLOCK_BYTES}
    volley = Volley(
        handoffs=(handoff_of(REQUEST, Model().answer(REQUEST)),),
        window=decode_window(counts),
        claim=claim_of(moved(6)),
    )
    verdict = await oracle.judge(volley, "KV moved")
    assert verdict.ruling is Ruling.INCONCLUSIVE
    assert "its prefix cache cannot be emptied" in str(verdict)
