"""The colocated side: who answers a request as one engine alone would."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Protocol

from pdtest.client.answer import Answer
from pdtest.client.endpoint import Endpoint
from pdtest.client.errors import RequestFailed
from pdtest.client.request import Request
from pdtest.oracle.errors import ReferenceMissing


class Reference(Protocol):
    """Answers a request without disaggregation."""

    async def answer(self, request: Request) -> Answer:
        """The reference's answer, never streamed.

        Raises ReferenceMissing when there is none, RequestFailed when the member that should give
        it fails.
        """
        ...


@dataclass(frozen=True)
class MemberReference:
    """A colocated member of the environment."""

    endpoint: Endpoint

    async def answer(self, request: Request) -> Answer:
        """Ask it."""
        return await self.endpoint.generate(replace(request, stream=False))


@dataclass(frozen=True)
class CachedReference:
    """Asks another reference once per request, also when several want the answer at once.

    Good for what is deterministic: greedy or seeded. ``answers`` may be shared, also between event
    loops; failures are not kept.
    """

    reference: Reference
    answers: dict[str, Answer]
    #: Per request, so that who comes second waits for the answer instead of asking as well.
    _turns: defaultdict[str, asyncio.Lock] = field(
        default_factory=lambda: defaultdict(asyncio.Lock), repr=False, compare=False
    )

    async def answer(self, request: Request) -> Answer:
        """The answer given before, or a new one."""
        digest = request.digest()
        async with self._turns[digest]:
            if digest not in self.answers:
                self.answers[digest] = await self.reference.answer(request)
        return self.answers[digest]


@dataclass(frozen=True)
class BorrowedReference:
    """Another member, asked plainly: no kv_transfer_params, so it computes everything itself.

    Its prefix cache is emptied before, or KV that came over the wire would answer, and after, or the
    next handoff would find the prompt in it and move nothing.
    """

    endpoint: Endpoint
    #: One at a time: a cache cannot be emptied while another request holds blocks of it.
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False, compare=False)

    async def answer(self, request: Request) -> Answer:
        """Ask it with a cold cache. Raises ReferenceMissing when the cache cannot be emptied."""
        async with self._turn:
            await self._empty()
            try:
                answer = await self.endpoint.generate(replace(request, stream=False))
            except RequestFailed:
                # Some blocks may have been computed; but why there is no answer matters more.
                with suppress(ReferenceMissing, RequestFailed):
                    await self._empty()
                raise
            await self._empty()
            return answer

    async def _empty(self) -> None:
        if not await self.endpoint.reset_prefix_cache():
            raise ReferenceMissing(
                f"'{self.endpoint.name}' cannot be borrowed: its prefix cache cannot be emptied",
                expected="success from POST /reset_prefix_cache",
                next_step="set VLLM_SERVER_DEV_MODE=1 for it, or name a colocated member under reference",
            )
